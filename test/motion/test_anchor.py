"""Motion too small for two neighboring frames, and what ends in an error far from the cause."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from corridor import HEIGHT_M, SMALL_CAMERA, ahead, frames
from point_scenes import pair_of, random_points, seen, street_pairs

from sfm_ros.config import config_from_dict
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame, Reason
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.errors import EngineError, ImageError
from sfm_ros.motion.anchor import Anchor
from sfm_ros.motion.track_motion import TrackMotion
from sfm_ros.motion.tracker import Tracker
from sfm_ros.odometry import VisualOdometry
from sfm_ros.window import Window


def config(mode: str = "geometric", **tracker: Any):
    scale = {"camera_height": HEIGHT_M}
    return config_from_dict({"odometry": {"mode": mode}, "scale": scale, "tracker": tracker})


def path(steps_m: list[float]) -> FloatArray:
    """(n + 1, 3) positions after synthetic steps of the street, noise of 0.02 pixels."""
    motion = TrackMotion(config(), fake_spec())
    T = np.eye(4)
    positions = [T[:3, 3]]
    pairs = street_pairs(ahead(steps_m), np.random.default_rng(0), noise_px=0.02)
    for index, (_, pair) in enumerate(pairs):
        step = motion._step(pair, (index + 1) * 100_000_000, None, None)  # type: ignore[arg-type]
        T = T if step.T_prev_curr is None else T @ step.T_prev_curr
        positions.append(T[:3, 3])
    return np.array(positions)


def test_creeping_is_not_standing() -> None:
    """A centimeter per frame moves few keypoints by the limit of a camera at rest."""
    positions = path([0.8] * 20 + [0.01] * 60)
    crept = np.linalg.norm(positions[80] - positions[20])
    assert crept == pytest.approx(60 * 0.01, rel=0.2)


def test_slow_start_waits_until_the_road_can_be_measured() -> None:
    """And loses none of the motion until then."""
    positions = path([0.05] * 60)
    assert np.linalg.norm(positions[1]) == 0.0
    assert np.linalg.norm(positions[-1]) == pytest.approx(60 * 0.05, rel=0.1)


def test_pair_since_the_anchor() -> None:
    anchor, points = Anchor(), random_points(np.random.default_rng(0), 50)
    at = partial(seen, np.eye(3), points=points)
    first = pair_of(at(t=np.array([0.0, 0.0, 0.1])))
    assert anchor.since(first) is first
    assert anchor.hold(first)
    second = replace(first, ids=first.ids + 10, rays_curr=first.rays_curr * 1.0)
    since = anchor.since(second)
    assert since.ids.tolist() == list(range(10, 50)) and since.dt_s == pytest.approx(0.2)
    np.testing.assert_array_equal(since.rays_prev, first.rays_prev[10:])
    np.testing.assert_array_equal(since.rays_curr, second.rays_curr[:40])
    held = [anchor.hold(first) for _ in range(30)]
    assert held[0] and not all(held), "a chain of tracks is not followed for ever"


def test_rays_outside_of_the_lens_model_are_not_used() -> None:
    """OpenCV gives points of a fisheye that it cannot undistort a finite place."""
    camera = CameraIntrinsics(
        width=640,
        height=480,
        fx=150,
        fy=150,
        cx=319.5,
        cy=239.5,
        distortion_model="equidistant",
        distortion=(-0.05, -0.01, 0.0, 0.0),
    )
    rng = np.random.default_rng(0)
    gray = cv2.GaussianBlur(rng.integers(0, 256, (480, 700)).astype(np.uint8), (0, 0), 2)
    tracker = Tracker(config().tracker)
    for index in range(3):
        rgb = np.repeat(gray[:, 3 * index : 640 + 3 * index, None], 3, axis=2)
        pair = tracker.track(Frame(stamp_ns=index + 1, rgb=rgb, intrinsics=camera))
    assert pair is not None and len(pair) > 100
    assert max(np.abs(pair.rays_prev).max(), np.abs(pair.rays_curr).max()) < 5.0


@pytest.mark.parametrize("size", [(600, 17_000), (17_000, 600), (64, 4000)], ids=str)
def test_odd_shapes_end_in_no_error(size: tuple[int, int]) -> None:
    width, height = size
    camera = CameraIntrinsics(
        width=width,
        height=height,
        fx=500,
        fy=500,
        cx=width / 2,
        cy=height / 2,
        distortion=(0.1,) * 4,
    )
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3))
    rgb = cv2.resize(noise.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    vo = VisualOdometry(FakeEngine(fake_spec(64, 64)), config())
    for index in range(3):
        vo.step(Frame(stamp_ns=(index + 1) * 10**8, rgb=np.roll(rgb, index, 1), intrinsics=camera))


def test_rectification_follows_the_size_that_is_tracked() -> None:
    camera = replace(SMALL_CAMERA.resized(704, 224), distortion=(0.05, 0.0, 0.0, 0.0))
    tracker = Tracker(config().tracker)
    rgb = np.random.default_rng(0).integers(0, 256, (224, 704, 3)).astype(np.uint8)
    shapes = []
    for index, width in enumerate((704, 400, 400)):
        tracker.configure(config(max_width=width).tracker)
        pair = tracker.track(Frame(stamp_ns=index + 1, rgb=rgb, intrinsics=camera))
        shapes.append(None if pair is None or pair.road is None else pair.road.curr.shape[1])
    assert shapes == [None, None, 400]


def street() -> list[Frame]:
    return list(frames(ahead([0.8] * 10), SMALL_CAMERA))


def test_odometry_goes_on_after_the_engine_failed() -> None:
    class Failing(FakeEngine):
        fails = False

        def infer(self, window: Window) -> Any:
            if self.fails:
                raise EngineError("no")
            return super().infer(window)

    engine = Failing(fake_spec(208, 64))
    vo, given = VisualOdometry(engine, config("hybrid")), street()
    for frame in given[:4]:
        vo.step(frame)
    engine.fails = True
    for frame in given[4:7]:
        with pytest.raises(EngineError):
            vo.step(frame)
    engine.fails = False
    assert [vo.step(frame).T_prev_curr is not None for frame in given[7:]][-1]


def test_reset_after_an_error_of_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    vo, given = VisualOdometry(FakeEngine(fake_spec(208, 64)), config()), street()
    with monkeypatch.context() as patch:

        def fail(*_: Any, **__: Any) -> None:
            raise cv2.error("no")

        patch.setattr(cv2, "goodFeaturesToTrack", fail)
        vo.step(given[0])
        vo.step(given[1])
        with pytest.raises(ImageError, match="cannot be followed"):
            vo.step(given[2])
    vo.reset()
    assert [vo.step(frame) for frame in given[3:8]][-1].T_prev_curr is not None


def test_what_blurs_every_image_becomes_usual() -> None:
    motion = TrackMotion(config(), fake_spec())
    pair = pair_of(
        seen(np.eye(3), np.array([0.0, 0.0, 0.5]), random_points(np.random.default_rng(0)))
    )
    found = [motion._checks.check(replace(pair, sharpness=s)) for s in [10.0] * 20 + [3.0] * 60]
    assert Reason.BLUR in found[20] and Reason.BLUR not in found[-1]
