"""The rate at which images are admitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sfm_ros.ros.node.rate_limit import BurstLimit, RateLimit


def count(times_s: list[float], rate_hz: float) -> int:
    limit = RateLimit()
    return sum(limit.admits(time_s, rate_hz) for time_s in times_s)


def test_three_times_too_many_images_are_thinned_evenly() -> None:
    limit = RateLimit()
    admitted = [i for i in range(300) if limit.admits(i / 30, 10.0)]
    assert len(admitted) == pytest.approx(100, abs=2)
    gaps = {b - a for a, b in zip(admitted[5:], admitted[6:], strict=False)}
    assert gaps == {3}


def test_zero_sets_no_limit() -> None:
    assert count([0.0] * 50, 0.0) == 50


@given(st.lists(st.floats(-0.024, 0.024), min_size=10, max_size=80))
def test_camera_at_the_limit_loses_nothing_by_jitter(jitter: list[float]) -> None:
    times = [100 + 0.1 * i + j for i, j in enumerate(jitter)]
    assert count(times, 10.0) == len(times)


@given(st.lists(st.floats(0.0, 0.3), min_size=2, max_size=200), st.floats(0.5, 50.0))
def test_the_rate_is_never_exceeded_for_long(steps_s: list[float], rate_hz: float) -> None:
    times = [sum(steps_s[: i + 1]) for i in range(len(steps_s))]
    assert count(times, rate_hz) <= (times[-1] - times[0]) * rate_hz + 3


def test_raised_limit_takes_effect_at_once() -> None:
    limit = RateLimit()
    assert limit.admits(0.0, 0.01)
    assert not limit.admits(1.0, 0.01)
    assert limit.admits(1.1, 10.0)


def test_bursts_are_admitted_and_floods_are_not() -> None:
    now_s = 5.0
    limit = BurstLimit(60, lambda: now_s)
    assert sum(limit.admits() for _ in range(100)) == 60
    now_s += 2.5
    assert sum(limit.admits() for _ in range(100)) == 2
    now_s += 1000.0
    assert sum(limit.admits() for _ in range(100)) == 60
