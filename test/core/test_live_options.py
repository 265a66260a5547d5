"""Every live option of the algorithm takes effect while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from sfm_ros.config import SfmConfig, config_from_dict, iter_fields
from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.odometry import VisualOdometry

CAMERA = CameraIntrinsics(width=256, height=96, fx=150, fy=150, cx=127.5, cy=40.0)
OTHER_VALUES: dict[str, Any] = {
    "window.max_gap_s": 0.15,
    "health.min_depth_spread": 10.0,
    "health.max_speed": 1.0,
    "health.max_rotation_deg_per_s": 1.0,
    "health.min_contrast": 100.0,
    "health.min_structure": 1.0,
    "health.max_exposure_jump": 10.0,
    "health.reject_frozen": False,
    "refine.enabled": False,
    "refine.max_features": 30,
    "refine.min_inliers": 2000,
    "refine.sigma_px": 2.0,
    "refine.sigma_depth": 0.01,
    "refine.prior_sigma_ratio": 0.01,
    "refine.velocity_sigma_ratio": 1.0,
    "refine.max_correction_deg": 0.0,
    "noise.translation_per_m": 1.0,
    "noise.rotation_deg_per_m": 5.0,
    "noise.gap_distance_m": 100.0,
}


def frames() -> Iterator[Frame]:
    """A texture that moves sideways; two gaps, a change of brightness, a repeated image."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 400)).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 20, 180, cv2.NORM_MINMAX)
    times_s = (0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 1.5)
    for index, time_s in enumerate(times_s):
        shift = 2 * (6 if index == 7 else index)
        gray = texture[:, shift : shift + 256] + np.uint8(30 if index > 5 else 0)
        rgb = np.repeat(gray[:, :, None], 3, axis=2)
        yield Frame(stamp_ns=round(time_s * 1e9), rgb=rgb, intrinsics=CAMERA)


def trace(changed: SfmConfig) -> list[tuple]:
    """What a run publishes whose options change after the second frame."""
    motion = make_transform(so3_exp([0.0, 0.02, 0.0]), [0.05, 0.0, 0.5])
    odometry = VisualOdometry(FakeEngine(fake_spec(256, 96), motion=motion))
    published = []
    for index, frame in enumerate(frames()):
        if index == 2:
            odometry.configure(changed)
        e = odometry.step(frame)
        assert e.T_odom_camera is not None
        published.append((e.status, e.reasons, e.T_odom_camera.tolist(), e.covariance.tolist()))
    return published


def test_every_live_option_has_another_value() -> None:
    live = {name for name, option, _ in iter_fields() if option.metadata["live"]}
    assert OTHER_VALUES.keys() == {name for name in live if not name.startswith("node.")}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_live_option_changes_the_run(name: str) -> None:
    block, key = name.split(".")
    assert trace(config_from_dict({block: {key: OTHER_VALUES[name]}})) != trace(SfmConfig())
