"""An error beside that of a baseline, in words."""

from __future__ import annotations

import math

import pytest

from sfm_ros.evaluation.remarks import beats, remark, remarks


@pytest.mark.parametrize(
    ("error", "baseline", "expected"),
    [
        (1.0, 2.7, "better than a line by 2.7x"),
        (2.7, 1.0, "worse than a line by 2.7x"),
        (1.0, 1.04, "no better than a line"),
        (1.0, 1.0, "no better than a line"),
        (0.0, 0.0, "no better than a line"),
        (0.0, 0.3, "better than a line"),
        (0.3, 0.0, "worse than a line"),
        (None, 1.0, None),
        (1.0, math.nan, None),
        (math.inf, 1.0, None),
    ],
)
def test_remark(error: float | None, baseline: float | None, expected: str | None) -> None:
    assert remark(error, baseline, "a line") == expected


def test_nothing_is_better_than_the_unknown() -> None:
    assert not beats(1.0, math.nan) and not beats(math.nan, 1.0) and beats(1.0, 2.0)


def test_each_known_baseline_has_a_remark() -> None:
    baselines = {"a line": 2.0, "nothing": None, "a plane": 1.0}
    assert remarks(1.0, baselines) == ["better than a line by 2.0x", "no better than a plane"]
    assert remarks(None, baselines) == []
