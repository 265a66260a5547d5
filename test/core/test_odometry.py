"""VisualOdometry.step: conventions with numbers, and what happens when things go wrong."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.config import SfmConfig, config_from_dict
from sfm_ros.datatypes import (
    CameraIntrinsics,
    Frame,
    OdometryEstimate,
    Reason,
    ScaleSource,
    TrackingStatus,
)
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.geometry import make_transform, so3_exp, so3_log
from sfm_ros.odometry import VisualOdometry
from sfm_ros.window import Window

CAMERA = CameraIntrinsics(width=64, height=32, fx=40, fy=40, cx=31.5, cy=15.5)
SPEC = fake_spec(64, 32)
STEP = 100_000_000
AHEAD = make_transform(np.eye(3), [0.0, 0.0, 1.0])


def _frame(index: float, camera: CameraIntrinsics = CAMERA) -> Frame:
    rgb = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    return Frame(stamp_ns=round(index * STEP), rgb=rgb, intrinsics=camera)


def _run(odometry: VisualOdometry, *indices: float) -> list[OdometryEstimate]:
    return [odometry.step(_frame(i)) for i in indices]


def _position(estimate: OdometryEstimate) -> np.ndarray:
    assert estimate.T_odom_camera is not None
    return estimate.T_odom_camera[:3, 3]


def test_a_metre_a_frame_adds_up_from_the_first_frame() -> None:
    estimates = _run(VisualOdometry(FakeEngine(SPEC, motion=AHEAD)), *range(5))
    assert [e.status for e in estimates[:2]] == [TrackingStatus.INITIALIZING] * 2
    assert estimates[2].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(estimates[2]), [0, 0, 2])
    np.testing.assert_allclose(_position(estimates[4]), [0, 0, 4])
    assert estimates[4].dt_ns == STEP


def test_a_circle_closes() -> None:
    turn = make_transform(so3_exp([0, np.radians(5), 0]), [0.0, 0.0, 1.0])
    estimates = _run(VisualOdometry(FakeEngine(SPEC, motion=turn)), *range(73))
    np.testing.assert_allclose(_position(estimates[-1]), 0, atol=1e-9)
    quarter = estimates[18].T_odom_camera
    assert quarter is not None
    np.testing.assert_allclose(so3_log(quarter[:3, :3]), [0, np.pi / 2, 0], atol=1e-9)


def test_a_gap_is_held_and_tracking_goes_on_from_there() -> None:
    odometry = VisualOdometry(FakeEngine(SPEC, motion=AHEAD))
    before = _run(odometry, *range(4))[-1]
    after = _run(odometry, 20, 21, 22)
    assert Reason.GAP in after[0].reasons
    np.testing.assert_allclose(_position(after[0]), _position(before))
    assert after[0].covariance[0, 0] > before.covariance[0, 0]
    np.testing.assert_allclose(_position(after[2]), [0, 0, 5])


def test_time_running_backwards_starts_at_the_origin_again() -> None:
    odometry = VisualOdometry(FakeEngine(SPEC, motion=AHEAD))
    _run(odometry, 10, 11, 12, 13)
    again = _run(odometry, 0, 1, 2)
    assert Reason.TIME_REVERSED in again[0].reasons
    np.testing.assert_allclose(_position(again[0]), 0)
    np.testing.assert_allclose(_position(again[2]), [0, 0, 2])


def test_a_duplicate_moves_nothing() -> None:
    odometry = VisualOdometry(FakeEngine(SPEC, motion=AHEAD))
    estimates = _run(odometry, 0, 1, 2, 2, 3)
    assert estimates[3].reasons == (Reason.DUPLICATE_STAMP,)
    np.testing.assert_allclose(_position(estimates[4]), [0, 0, 3])


def test_a_changed_calibration_begins_a_segment_without_a_jump() -> None:
    odometry = VisualOdometry(FakeEngine(SPEC, motion=AHEAD))
    before = _run(odometry, 0, 1, 2)[-1]
    other = CameraIntrinsics(width=128, height=64, fx=80, fy=80, cx=60, cy=30)
    changed = odometry.step(_frame(3, other))
    assert Reason.CALIBRATION_CHANGED in changed.reasons
    np.testing.assert_allclose(_position(changed), _position(before))


def _then(motions: dict[int, np.ndarray]) -> FakeEngine:
    """A metre ahead, but for the windows that end at the given frames."""
    return FakeEngine(SPEC, motion=lambda w: motions.get(w.stamps_ns[-1] // STEP, AHEAD))


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (np.full((4, 4), np.nan), Reason.NON_FINITE_OUTPUT),
        (np.diag([1.0, -1.0, 1.0, 1.0]), Reason.IMPROPER_ROTATION),
        (make_transform(np.eye(3), [0, 0, 50.0]), Reason.IMPLAUSIBLE_MOTION),
        (make_transform(so3_exp([0, 1.0, 0]), [0, 0, 1.0]), Reason.IMPLAUSIBLE_ROTATION),
    ],
)
def test_a_bad_motion_is_named_and_not_integrated(motion: np.ndarray, reason: Reason) -> None:
    odometry = VisualOdometry(_then({4: motion}))
    estimates = _run(odometry, *range(6))
    assert estimates[4].status is TrackingStatus.LOST
    assert estimates[4].reasons == (reason,) and estimates[4].T_prev_curr is None
    np.testing.assert_allclose(_position(estimates[4]), _position(estimates[3]))
    assert estimates[4].covariance[0, 0] > estimates[3].covariance[0, 0]
    assert estimates[5].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(estimates[5]), [0, 0, 4])


def test_flat_depth_degrades_and_is_not_integrated() -> None:
    engine = FakeEngine(SPEC, motion=AHEAD, depth=np.full((32, 64), 7.0, dtype=np.float32))
    estimate = _run(VisualOdometry(engine), 0, 1, 2)[-1]
    assert estimate.status is TrackingStatus.DEGRADED
    assert estimate.reasons == (Reason.FLAT_DEPTH,)
    np.testing.assert_allclose(_position(estimate), 0)


def test_depth_that_is_not_finite_is_not_published() -> None:
    engine = FakeEngine(SPEC, motion=AHEAD, depth=np.full((32, 64), np.nan, dtype=np.float32))
    estimate = _run(VisualOdometry(engine), 0, 1, 2)[-1]
    assert estimate.depth is None and Reason.NON_FINITE_OUTPUT in estimate.reasons


def test_single_invalid_depths_become_nan() -> None:
    def depth(window: Window) -> np.ndarray:
        values = np.linspace(2, 40, 32 * 64, dtype=np.float32).reshape(32, 64)
        values[0, :3] = [np.inf, -1.0, 0.0]
        return values

    estimate = _run(VisualOdometry(FakeEngine(SPEC, motion=AHEAD, depth=depth)), 0, 1, 2)[-1]
    assert estimate.depth is not None
    assert np.isnan(estimate.depth[0, :3]).all() and np.isfinite(estimate.depth).sum() == 2045


def _scaled(values: dict, metric: bool = True) -> OdometryEstimate:
    engine = FakeEngine(fake_spec(64, 32, metric=metric), motion=AHEAD)
    return _run(VisualOdometry(engine, config_from_dict({"scale": values})), 0, 1, 2)[-1]


def test_the_scale_says_who_vouches_for_it() -> None:
    assert _scaled({"source": "model"}).scale.source is ScaleSource.MODEL
    assert _scaled({"source": "model"}, metric=False).scale.source is ScaleSource.UNKNOWN
    assert _scaled({"source": "none"}).scale.source is ScaleSource.UNKNOWN
    fixed = _scaled({"source": "fixed", "factor": 2.5})
    assert fixed.scale.source is ScaleSource.FIXED
    np.testing.assert_allclose(_position(fixed), [0, 0, 5.0])
    assert fixed.T_prev_curr is not None and fixed.depth is not None
    np.testing.assert_allclose(fixed.T_prev_curr[2, 3], 2.5)
    np.testing.assert_allclose(fixed.depth, _scaled({"source": "none"}).depth * 2.5, rtol=1e-6)


def test_covariance_grows_with_the_way_and_heading_error_turns_into_position_error() -> None:
    estimates = _run(VisualOdometry(FakeEngine(SPEC, motion=AHEAD)), *range(102))
    near, far = estimates[2].covariance, estimates[101].covariance
    assert far[0, 0] > 100 * near[0, 0]  # sideways: more than the random walk alone
    assert far[2, 2] == pytest.approx(near[2, 2] * 101 / 2)  # along the way: the random walk
    np.testing.assert_allclose(far, far.T)
    assert np.linalg.eigvalsh(far).min() >= -1e-12


def test_reset_begins_at_the_origin() -> None:
    odometry = VisualOdometry(FakeEngine(SPEC, motion=AHEAD), SfmConfig())
    _run(odometry, *range(5))
    odometry.reset()
    np.testing.assert_allclose(_position(_run(odometry, 5)[0]), 0)
