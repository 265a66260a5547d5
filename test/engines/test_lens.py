"""Lengths of the camera in use, against points and their images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics, FloatArray
from sfm_ros.engines.lens import in_camera
from sfm_ros.engines.window_runner import WindowRunner
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

SPEC = ModelSpec(
    name="canonical", width=32, height=16, sequence_length=3, target_index=1, training_fx=20.0,
    metric=True, min_depth=0.1, max_depth=100.0, canonical_fx=16.0, canonical_center=True,
)  # fmt: skip
T_CANONICAL = make_transform(so3_exp([1e-3, -4e-3, 2e-3]), [0.02, -0.01, 0.3])


def camera(fx: float, cx: float = 15.5, cy: float = 7.5) -> CameraIntrinsics:
    return CameraIntrinsics(width=32, height=16, fx=fx, fy=fx, cx=cx, cy=cy)


def window(own: CameraIntrinsics, camera_height_m: float = 0.0) -> Window:
    image = np.zeros((16, 32, 3), dtype=np.uint8)
    return Window(
        images=(image,) * 3,
        stamps_ns=(0, 1, 2),
        intrinsics=own,
        camera_height_m=camera_height_m,
    )


def image_of(points: FloatArray, K: FloatArray, T: FloatArray) -> FloatArray:
    seen = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
    return np.asarray(seen[:, :2] / seen[:, 2:])


@pytest.mark.parametrize("axis", [(15.5, 7.5), (18.0, 5.0)])
def test_motion_in_the_camera_moves_the_image_as_the_canonical_motion_does(
    axis: tuple[float, float],
) -> None:
    """Points at 5 to 50 m; to first order, because a stretched rotation is none."""
    own, canonical = camera(30.0, *axis), camera(SPEC.canonical_fx)
    points = np.random.default_rng(0).uniform([-2, -1, 5], [2, 1, 50], (200, 3))
    as_canonical = points @ (np.linalg.inv(canonical.K) @ own.K * canonical.fx / own.fx).T
    depth, motions = in_camera(
        as_canonical[None, :, 2], np.stack([T_CANONICAL] * 2), SPEC, window(own)
    )
    np.testing.assert_allclose(depth[0], points[:, 2])
    before = image_of(points, own.K, np.eye(4))
    np.testing.assert_allclose(before, image_of(as_canonical, canonical.K, np.eye(4)))
    expected = image_of(as_canonical, canonical.K, T_CANONICAL)
    shift = np.abs(expected - before).mean()
    assert np.abs(image_of(points, own.K, motions[1]) - expected).mean() < 0.03 * shift
    assert np.abs(image_of(points, own.K, T_CANONICAL) - expected).mean() > 0.2 * shift


def test_the_canonical_camera_and_models_without_one_change_nothing() -> None:
    depth, T = np.full((2, 3), 7.0, dtype=np.float32), np.stack([T_CANONICAL] * 2)
    of_any = dataclasses.replace(SPEC, canonical_fx=0.0)
    of_any_axis = dataclasses.replace(SPEC, canonical_center=False)
    for spec, own in (
        (SPEC, camera(16.0)), (of_any, camera(99.0, 3.0)), (of_any_axis, camera(16.0, 3.0)),
    ):  # fmt: skip
        found, motions = in_camera(depth, T, spec, window(own))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, depth)
        np.testing.assert_allclose(motions, T, atol=1e-15)


def test_lengths_are_in_proportion_to_the_height_of_the_camera() -> None:
    """Of twice the height and a scene of twice the size, the images are the same."""
    spec = dataclasses.replace(SPEC, canonical_height_m=1.5)
    depth, T = np.full((2, 3), 7.0, dtype=np.float32), np.stack([T_CANONICAL] * 2)
    for height_m, factor in ((3.0, 2.0), (0.75, 0.5), (1.5, 1.0), (0.0, 1.0)):
        found, motions = in_camera(depth, T, spec, window(camera(16.0), height_m))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, factor * depth)
        np.testing.assert_allclose(motions[:, :3, 3], factor * T[:, :3, 3])
        np.testing.assert_allclose(motions[:, :3, :3], T[:, :3, :3], atol=1e-15)
        unchanged, _ = in_camera(depth, T, SPEC, window(camera(16.0), height_m))
        np.testing.assert_array_equal(unchanged, depth)
    np.testing.assert_array_equal(T[0], T_CANONICAL)


def test_a_height_that_is_assumed_is_stated() -> None:
    spec = dataclasses.replace(SPEC, canonical_height_m=1.5)
    assert "'canonical' takes the camera to be 1.5 m above the road" in spec.assumption(0.0)
    assert spec.assumption(1.2) == SPEC.assumption(0.0) == ""


def test_motion_that_is_not_finite_is_left_to_the_output_checks() -> None:
    T = np.stack([T_CANONICAL, np.full((4, 4), np.nan)])
    _, motions = in_camera(np.ones((1, 1), np.float32), T, SPEC, window(camera(32.0)))
    assert motions[0][2, 3] == pytest.approx(2 * 0.3, rel=1e-3) and np.isnan(motions[1]).all()


def test_every_engine_answers_for_the_camera_of_the_window() -> None:
    depth = np.full((1, 16, 32), 7.0, dtype=np.float32)
    T = np.stack([T_CANONICAL] * 2)[None]
    runner = WindowRunner(SPEC, lambda rgb: (depth,), lambda window: T)
    found = runner.infer(window(camera(24.0)))
    np.testing.assert_allclose(found.depth, 7.0 * 1.5)
    assert found.increments[0][2, 3] == pytest.approx(1.5 * 0.3, rel=1e-3)
