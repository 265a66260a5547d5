"""The odometry by tracked keypoints along drawn and rendered streets."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from corridor import HEIGHT_M, SMALL_CAMERA, ahead, depth_map, draw, frame, frames
from streets import BRAKING_STEPS_M, braking_street
from streets import HEIGHT_M as STREET_HEIGHT_M

from sfm_ros.config import config_from_dict
from sfm_ros.datatypes import (
    DepthMap,
    FloatArray,
    Frame,
    OdometryEstimate,
    Reason,
    ScaleSource,
    TrackingStatus,
)
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.geometry import inverse, make_transform, rotation_angle, so3_exp, so3_log
from sfm_ros.odometry import VisualOdometry
from sfm_ros.window import Window

STEPS_M = [0.8] * 14
BEND = ahead(STEPS_M, yaw_deg=0.8)
SPEC = fake_spec(208, 64)


@cache
def bend() -> list[Frame]:
    """A bend to the right, 0.8 m and 0.8 degrees per frame."""
    return list(frames(BEND))


def odometry(
    mode: str = "geometric", engine: FakeEngine | None = None, height_m: float = HEIGHT_M
) -> VisualOdometry:
    values = {"odometry": {"mode": mode}, "scale": {"camera_height": height_m}}
    return VisualOdometry(engine or FakeEngine(SPEC), config_from_dict(values))


def run(vo: VisualOdometry, given: list[Frame]) -> list[OdometryEstimate]:
    return [vo.step(each) for each in given]


def position(estimate: OdometryEstimate) -> FloatArray:
    assert estimate.T_odom_camera is not None
    return estimate.T_odom_camera[:3, 3]


def predicted_depth(window: Window) -> DepthMap:
    """Depth of the street in units of 2 m."""
    index = round(window.stamps_ns[-1] / 1e8) - 1
    return depth_map(BEND[index], window.intrinsics) / np.float32(2.0)


class NoEngine(FakeEngine):
    """Networks that must not run."""

    def infer(self, window: Window) -> None:  # type: ignore[override]
        raise AssertionError("the networks ran")


def assert_follows(estimates: list[OdometryEstimate], poses: FloatArray) -> None:
    """Within 4 % of the path and half a degree."""
    length = float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())
    for estimate, pose in zip(estimates[2:], poses[2:], strict=True):
        assert estimate.T_odom_camera is not None
        expected = inverse(poses[0]) @ pose
        assert np.linalg.norm(position(estimate) - expected[:3, 3]) < 0.04 * length
        turned = rotation_angle(expected[:3, :3].T @ estimate.T_odom_camera[:3, :3])
        assert np.degrees(turned) < 0.5


def test_geometric_mode_needs_no_networks() -> None:
    estimates = run(odometry(engine=NoEngine(SPEC)), bend())
    assert_follows(estimates, BEND)
    assert all(e.status is TrackingStatus.TRACKING and not e.reasons for e in estimates[2:])
    assert all(e.depth is None for e in estimates)
    assert estimates[-1].scale.source is ScaleSource.CAMERA_HEIGHT


def test_hybrid_mode_scales_the_predicted_depth() -> None:
    estimates = run(odometry("hybrid", FakeEngine(SPEC, depth=predicted_depth)), bend())
    assert_follows(estimates, BEND)
    last = estimates[-1]
    assert last.scale.value == pytest.approx(2.0, rel=0.06)
    assert last.depth is not None and last.depth_intrinsics is not None
    true_depth = depth_map(BEND[-1], last.depth_intrinsics)
    assert np.median(last.depth / true_depth) == pytest.approx(1.0, abs=0.06)


def test_metric_model_gives_the_unit() -> None:
    def metric_depth(window: Window) -> DepthMap:
        return 2 * predicted_depth(window)

    vo = odometry("hybrid", FakeEngine(SPEC, depth=metric_depth), height_m=0.0)
    estimates = run(vo, bend())
    assert estimates[-1].scale.source is ScaleSource.MODEL
    moved = position(estimates[-1]) - position(estimates[2])
    expected = np.linalg.norm(BEND[-1][:3, 3] - BEND[2][:3, 3])
    assert np.linalg.norm(moved) == pytest.approx(expected, rel=0.02)


def test_rotation_of_the_networks_is_checked() -> None:
    turning = make_transform(so3_exp([0.0, 0.2, 0.0]), [0.0, 0.0, 0.4])
    engine = FakeEngine(SPEC, motion=turning, depth=predicted_depth)
    estimates = run(odometry("hybrid", engine), bend()[:8])
    for estimate in estimates[2:]:
        assert Reason.MOTION_MISMATCH in estimate.reasons
        assert estimate.status is TrackingStatus.DEGRADED
    assert_follows(estimates, BEND[:8])


def test_useless_depth_does_not_stop_the_odometry() -> None:
    flat = np.full((64, 208), 7.0, dtype=np.float32)
    estimates = run(odometry("hybrid", FakeEngine(SPEC, depth=flat)), bend()[:8])
    assert all(e.reasons == (Reason.FLAT_DEPTH,) for e in estimates[2:])
    assert_follows(estimates, BEND[:8])


@pytest.mark.parametrize("metric", [False, True])
def test_geometric_mode_without_height_has_lengths_without_unit(metric: bool) -> None:
    """The depth of a metric model is of no use if it does not run."""
    vo = odometry(engine=NoEngine(fake_spec(208, 64, metric=metric)), height_m=0.0)
    estimates = run(vo, bend())
    assert all(e.reasons == (Reason.SCALE_UNKNOWN,) for e in estimates[2:])
    assert estimates[-1].scale.source is ScaleSource.UNKNOWN
    steps = [
        np.linalg.norm(e.T_prev_curr[:3, 3]) for e in estimates[2:] if e.T_prev_curr is not None
    ]
    assert len(steps) == len(estimates) - 2
    np.testing.assert_allclose(steps, 1.0, rtol=0.05)  # that of the first step


def test_gap_keeps_pose_and_scale() -> None:
    vo = odometry()
    before = run(vo, bend()[:9])[-1]
    later = [
        Frame(stamp_ns=each.stamp_ns + 10**9, rgb=each.rgb, intrinsics=each.intrinsics)
        for each in bend()[9:]
    ]
    first, second, third, *_ = run(vo, later)
    assert Reason.GAP in first.reasons and second.status is TrackingStatus.INITIALIZING
    np.testing.assert_array_equal(position(first), position(before))
    assert first.covariance[0, 0] > before.covariance[0, 0]
    # The window that has filled gives both of its motions at once.
    assert third.status is TrackingStatus.TRACKING and third.T_prev_curr is not None
    moved = np.linalg.norm(position(third) - position(before))
    assert moved == pytest.approx(1.6, rel=0.05)


def test_reset_returns_to_the_origin_and_forgets_the_scale() -> None:
    vo = odometry()
    run(vo, bend()[:6])
    vo.reset()
    first, _, third = run(vo, bend()[6:9])
    np.testing.assert_array_equal(position(first), 0)
    assert third.T_prev_curr is not None
    assert np.linalg.norm(position(third)) == pytest.approx(1.6, rel=0.05)
    assert third.scale.sigma > 0.1


def test_standstill_is_exact() -> None:
    """Only the noise of the sensor differs."""
    stand = [frame(i, draw(np.eye(4), seed=i)) for i in range(6)]
    estimates = run(odometry(), stand)
    for estimate in estimates[2:]:
        assert estimate.status is TrackingStatus.TRACKING
        np.testing.assert_array_equal(estimate.T_prev_curr, np.eye(4))
    np.testing.assert_array_equal(position(estimates[-1]), 0)
    assert np.all(estimates[-1].covariance == 0)


def test_covariance_covers_the_errors() -> None:
    """Squared errors of the steps over what their covariance allows, per degree of freedom."""
    estimates = run(odometry(), bend())
    ratios = []
    for index in range(4, len(estimates)):
        estimate = estimates[index]
        assert estimate.T_prev_curr is not None
        error = inverse(BEND[index - 1]) @ BEND[index] @ inverse(estimate.T_prev_curr)
        vector = np.concatenate(
            [
                (inverse(BEND[index - 1]) @ BEND[index] - estimate.T_prev_curr)[:3, 3],
                so3_log(error[:3, :3]),
            ]
        )
        covariance = estimate.motion_covariance
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
        ratios.append(float(vector @ np.linalg.solve(covariance, vector)) / 6)
    print(f"mean normalized squared error {np.mean(ratios):.2f}")
    assert 0.02 < np.mean(ratios) < 3.0


def test_rendered_street_with_braking_and_a_turn_on_the_spot() -> None:
    street = braking_street()
    estimates = run(
        odometry(height_m=STREET_HEIGHT_M), [street.render(i).frame for i in range(len(street))]
    )
    *driving, turning = estimates
    traveled = BRAKING_STEPS_M[2:].sum()
    moved = position(driving[-1]) - position(driving[2])
    assert np.linalg.norm(moved - [0, 0, traveled]) < 0.03 * traveled
    assert turning.T_prev_curr is not None
    np.testing.assert_array_equal(turning.T_prev_curr[:3, 3], 0)
    assert Reason.LOW_PARALLAX in turning.reasons
    angle = np.degrees(so3_log(turning.T_prev_curr[:3, :3]))
    np.testing.assert_allclose(angle, [0, -5.0, 0], atol=0.05)


@pytest.mark.parametrize("turn_deg", [1.0, 4.0])
def test_small_camera_that_stops_and_turns(turn_deg: float) -> None:
    """Its images are enlarged, and so are the errors of the flow, which grow with the turn."""
    camera = SMALL_CAMERA
    driving = ahead([0.8] * 7)
    turn = make_transform(so3_exp([0.0, np.radians(turn_deg), 0.0]), np.zeros(3))
    turning = [driving[-1] @ np.linalg.matrix_power(turn, k) for k in (1, 2, 3)]
    estimates = run(odometry(), list(frames(np.stack([*driving, *turning]), camera)))
    moved = position(estimates[7]) - position(estimates[2])
    assert moved[2] == pytest.approx(5 * 0.8, rel=0.05)
    for estimate in estimates[8:]:
        assert Reason.LOW_PARALLAX in estimate.reasons
        np.testing.assert_array_equal(position(estimate), position(estimates[7]))
        assert estimate.T_prev_curr is not None
        found = np.degrees(so3_log(estimate.T_prev_curr[:3, :3]))
        np.testing.assert_allclose(found, [0, turn_deg, 0], atol=0.05)
