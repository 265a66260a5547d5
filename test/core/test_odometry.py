"""VisualOdometry.step: conventions, with numbers, and the handling of bad input and output.

The images show no scene that could be tracked: the motion is that of the networks alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sfm_ros.config import config_from_dict
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
FORWARD = make_transform(np.eye(3), [0.0, 0.0, 1.0])


def _odometry(engine: FakeEngine | None = None, **blocks: dict[str, Any]) -> VisualOdometry:
    """Moves one meter forward per frame unless the engine predicts another motion."""
    config = config_from_dict({"odometry": {"mode": "network"}, **blocks})
    return VisualOdometry(engine or FakeEngine(SPEC, motion=FORWARD), config)


@pytest.fixture
def odometry() -> VisualOdometry:
    return _odometry()


def _image(camera: CameraIntrinsics, seed: int, brightness: int = 120) -> np.ndarray:
    """(h, w, 3) uint8 with a gradient and sensor noise."""
    ramp = np.linspace(-50, 50, camera.width) + brightness
    noise = np.random.default_rng(seed).integers(-3, 4, (camera.height, camera.width, 3))
    return np.clip(ramp[None, :, None] + noise, 0, 255).astype(np.uint8)


def _frame(
    index: float, camera: CameraIntrinsics = CAMERA, rgb: np.ndarray | None = None
) -> Frame:
    stamp_ns = round(index * STEP)
    image = _image(camera, stamp_ns) if rgb is None else rgb
    return Frame(stamp_ns=stamp_ns, rgb=image, intrinsics=camera)


def _run(odometry: VisualOdometry, *indices: float) -> list[OdometryEstimate]:
    return [odometry.step(_frame(i)) for i in indices]


def _position(estimate: OdometryEstimate) -> np.ndarray:
    assert estimate.T_odom_camera is not None
    return estimate.T_odom_camera[:3, 3]


def test_increments_add_up_from_the_first_frame(odometry: VisualOdometry) -> None:
    estimates = _run(odometry, *range(5))
    assert [e.status for e in estimates[:2]] == [TrackingStatus.INITIALIZING] * 2
    assert estimates[2].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(estimates[2]), [0, 0, 2])
    np.testing.assert_allclose(_position(estimates[4]), [0, 0, 4])
    assert estimates[4].dt_ns == STEP


def test_frame_may_be_prepared_ahead() -> None:
    plain, ahead = (_odometry() for _ in range(2))
    frames = [_frame(i) for i in range(5)]
    prepared = [ahead.prepare(frame) for frame in frames]
    for frame, network_input in zip(frames, prepared, strict=True):
        one, other = plain.step(frame), ahead.step(frame, network_input)
        assert one.status is other.status and one.timings_ns.keys() == other.timings_ns.keys()
        assert other.timings_ns["preprocess"] == network_input.elapsed_ns > 0
        assert np.array_equal(_position(one), _position(other))
        assert one.depth is None or np.array_equal(one.depth, other.depth)


def test_circle_closes() -> None:
    turn = make_transform(so3_exp([0, np.radians(5), 0]), [0.0, 0.0, 1.0])
    estimates = _run(_odometry(FakeEngine(SPEC, motion=turn)), *range(73))
    np.testing.assert_allclose(_position(estimates[-1]), 0, atol=1e-9)
    quarter = estimates[18].T_odom_camera
    assert quarter is not None
    np.testing.assert_allclose(so3_log(quarter[:3, :3]), [0, np.pi / 2, 0], atol=1e-9)


def test_pose_is_held_over_a_gap(odometry: VisualOdometry) -> None:
    before = _run(odometry, *range(4))[-1]
    after = _run(odometry, 20, 21, 22)
    assert Reason.GAP in after[0].reasons
    np.testing.assert_allclose(_position(after[0]), _position(before))
    assert after[0].covariance[0, 0] > before.covariance[0, 0]
    np.testing.assert_allclose(_position(after[2]), [0, 0, 5])


def test_reversed_time_restarts_at_the_origin(odometry: VisualOdometry) -> None:
    before = _run(odometry, 20, 21, 22, 23)[-1]
    again = _run(odometry, 1, 2, 3)
    assert again[0].reasons == (Reason.OUT_OF_ORDER,)
    np.testing.assert_allclose(_position(again[0]), _position(before))
    assert Reason.TIME_REVERSED in again[1].reasons
    np.testing.assert_allclose(_position(again[1]), 0)
    np.testing.assert_allclose(_position(again[2]), [0, 0, 2])


@pytest.mark.parametrize(
    ("stamps", "reason"),
    [
        ((1, 2, 3, 3, 4), Reason.DUPLICATE_STAMP),
        ((1, 2, 3, 2.5, 4), Reason.OUT_OF_ORDER),
        ((101, 102, 103, 4, 104), Reason.OUT_OF_ORDER),
        ((1, 2, 3, 0, 4), Reason.NO_STAMP),
    ],
)
def test_bad_stamp_is_ignored(odometry: VisualOdometry, stamps: tuple, reason: Reason) -> None:
    estimates = _run(odometry, *stamps)
    assert estimates[3].reasons == (reason,) and estimates[3].T_prev_curr is None
    assert estimates[4].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(estimates[4]), [0, 0, 3])


def test_single_future_stamp_keeps_the_pose(odometry: VisualOdometry) -> None:
    before = _run(odometry, 1, 2, 3)[-1]
    future, *after = _run(odometry, 10_000, 4, 5, 6)
    assert Reason.GAP in future.reasons and Reason.GAP in after[0].reasons
    np.testing.assert_allclose(_position(after[0]), _position(before))
    assert after[2].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(after[2]), [0, 0, 4])


def test_unset_stamps_give_no_motion(odometry: VisualOdometry) -> None:
    estimates = _run(odometry, 0, 0, 0, 0)
    assert all(e.reasons == (Reason.NO_STAMP,) for e in estimates[1:])
    assert all(e.T_prev_curr is None for e in estimates)


def _black(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (32, 64, 3), dtype=np.uint8)


def _white(seed: int) -> np.ndarray:
    return 255 - _black(seed)


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def _frozen(_: int) -> np.ndarray:
    return _image(CAMERA, round(4 * STEP))


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (_black, Reason.NO_TEXTURE),
        (_white, Reason.NO_TEXTURE),
        (_noise, Reason.IMAGE_NOISE),
        (_frozen, Reason.FROZEN_IMAGE),
    ],
)
@pytest.mark.parametrize("bad_frames", [2, 10])
def test_image_without_scene_is_skipped(
    odometry: VisualOdometry, draw: Callable[[int], np.ndarray], reason: Reason, bad_frames: int
) -> None:
    before = _run(odometry, *range(5))[-1]
    bad = [odometry.step(_frame(5 + i, rgb=draw(i))) for i in range(bad_frames)]
    assert all(e.status is TrackingStatus.LOST and e.reasons == (reason,) for e in bad)
    assert all(e.T_prev_curr is None and e.depth is None for e in bad)
    np.testing.assert_allclose(_position(bad[-1]), _position(before))
    first, _, last = _run(odometry, *range(5 + bad_frames, 8 + bad_frames))
    assert (Reason.GAP in first.reasons) == (bad_frames > 5)
    assert last.status is TrackingStatus.TRACKING
    # A short interruption is bridged by one motion; over a long one the pose is held.
    np.testing.assert_allclose(_position(last), [0, 0, 7 if bad_frames == 2 else 6])


def test_frozen_images_may_be_allowed() -> None:
    odometry = _odometry(health={"reject_frozen": False})
    still = _image(CAMERA, 7)
    estimates = [odometry.step(_frame(i, rgb=still)) for i in range(4)]
    assert estimates[-1].status is TrackingStatus.TRACKING


def test_exposure_jump_starts_new_segment(odometry: VisualOdometry) -> None:
    before = _run(odometry, *range(4))[-1]
    brighter = [_frame(4 + i, rgb=_image(CAMERA, i, brightness=170)) for i in range(3)]
    jumped, _, after = [odometry.step(frame) for frame in brighter]
    assert jumped.status is TrackingStatus.INITIALIZING
    assert Reason.EXPOSURE_JUMP in jumped.reasons
    np.testing.assert_allclose(_position(jumped), _position(before))
    assert jumped.covariance[0, 0] > before.covariance[0, 0]
    assert after.status is TrackingStatus.TRACKING


def test_changed_calibration_starts_new_segment(odometry: VisualOdometry) -> None:
    before = _run(odometry, 0, 1, 2)[-1]
    other = CameraIntrinsics(width=128, height=64, fx=80, fy=80, cx=60, cy=30)
    changed = odometry.step(_frame(3, other))
    assert Reason.CALIBRATION_CHANGED in changed.reasons
    np.testing.assert_allclose(_position(changed), _position(before))


def _engine_with(motions: dict[int, np.ndarray]) -> FakeEngine:
    """One meter forward, except for windows that end at the given frames."""
    return FakeEngine(SPEC, motion=lambda w: motions.get(w.stamps_ns[-1] // STEP, FORWARD))


@pytest.mark.parametrize(
    ("motion", "reason"),
    [
        (np.full((4, 4), np.nan), Reason.NON_FINITE_OUTPUT),
        (np.diag([1.0, -1.0, 1.0, 1.0]), Reason.IMPROPER_ROTATION),
        (make_transform(np.eye(3), [0, 0, 50.0]), Reason.IMPLAUSIBLE_MOTION),
        (make_transform(so3_exp([0, 1.0, 0]), [0, 0, 1.0]), Reason.IMPLAUSIBLE_ROTATION),
    ],
)
def test_bad_motion_is_not_integrated(motion: np.ndarray, reason: Reason) -> None:
    odometry = _odometry(_engine_with({4: motion}))
    estimates = _run(odometry, *range(6))
    assert estimates[4].status is TrackingStatus.LOST
    assert estimates[4].reasons == (reason,) and estimates[4].T_prev_curr is None
    np.testing.assert_allclose(_position(estimates[4]), _position(estimates[3]))
    assert estimates[4].covariance[0, 0] > estimates[3].covariance[0, 0]
    assert estimates[5].status is TrackingStatus.TRACKING
    np.testing.assert_allclose(_position(estimates[5]), [0, 0, 4])


def test_flat_depth_is_not_integrated() -> None:
    engine = FakeEngine(SPEC, motion=FORWARD, depth=np.full((32, 64), 7.0, dtype=np.float32))
    estimate = _run(_odometry(engine), 0, 1, 2)[-1]
    assert estimate.status is TrackingStatus.LOST
    assert estimate.reasons == (Reason.FLAT_DEPTH,)
    np.testing.assert_allclose(_position(estimate), 0)


def test_non_finite_depth_is_not_published() -> None:
    engine = FakeEngine(SPEC, motion=FORWARD, depth=np.full((32, 64), np.nan, dtype=np.float32))
    estimate = _run(_odometry(engine), 0, 1, 2)[-1]
    assert estimate.depth is None and Reason.NON_FINITE_OUTPUT in estimate.reasons


def test_invalid_pixels_become_nan() -> None:
    def depth(window: Window) -> np.ndarray:
        values = np.linspace(2, 40, 32 * 64, dtype=np.float32).reshape(32, 64)
        values[0, :3] = [np.inf, -1.0, 0.0]
        return values

    estimate = _run(_odometry(FakeEngine(SPEC, motion=FORWARD, depth=depth)), 0, 1, 2)[-1]
    assert estimate.depth is not None
    assert np.isnan(estimate.depth[0, :3]).all() and np.isfinite(estimate.depth).sum() == 2045


def _scaled(values: dict, metric: bool = True) -> OdometryEstimate:
    engine = FakeEngine(fake_spec(64, 32, metric=metric), motion=FORWARD)
    return _run(_odometry(engine, scale=values), 0, 1, 2)[-1]


def test_scale_source() -> None:
    assert _scaled({"source": "model"}).scale.source is ScaleSource.MODEL
    assert _scaled({"source": "model"}, metric=False).scale.source is ScaleSource.UNKNOWN
    assert _scaled({"source": "none"}).scale.source is ScaleSource.UNKNOWN
    fixed = _scaled({"source": "fixed", "factor": 2.5})
    assert fixed.scale.source is ScaleSource.FIXED
    np.testing.assert_allclose(_position(fixed), [0, 0, 5.0])
    assert fixed.T_prev_curr is not None and fixed.depth is not None
    np.testing.assert_allclose(fixed.T_prev_curr[2, 3], 2.5)
    np.testing.assert_allclose(fixed.depth, _scaled({"source": "none"}).depth * 2.5, rtol=1e-6)


def test_networks_know_the_height_of_the_camera() -> None:
    """As configured, else as stated last; what is no height is not one."""
    seen: list[float] = []

    def depth(window: Window) -> np.ndarray:
        seen.append(window.camera_height_m)
        return np.full((32, 64), 7.0, np.float32)

    stated, configured = (
        _odometry(FakeEngine(SPEC, motion=FORWARD, depth=depth), scale={"camera_height": height_m})
        for height_m in (0.0, 1.2)
    )
    for odometry in (stated, configured):
        _run(odometry, 0, 1, 2)
        odometry.set_camera_height(2.5)
        odometry.set_camera_height(float("nan"))
        _run(odometry, 3)
    assert seen == [0.0, 2.5, 1.2, 1.2]


def test_covariance_grows_with_distance_and_heading_error(odometry: VisualOdometry) -> None:
    estimates = _run(odometry, *range(102))
    near, far = estimates[2].covariance, estimates[101].covariance
    assert far[0, 0] > 100 * near[0, 0]  # sideways: more than the random walk alone
    assert far[2, 2] == pytest.approx(near[2, 2] * 101 / 2)  # forward: the random walk
    np.testing.assert_allclose(far, far.T)
    assert np.linalg.eigvalsh(far).min() >= -1e-12


def test_reset_restarts_at_the_origin() -> None:
    odometry = _odometry()
    _run(odometry, *range(5))
    odometry.reset()
    np.testing.assert_allclose(_position(_run(odometry, 5)[0]), 0)
