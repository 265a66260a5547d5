"""Every live option of the algorithm takes effect while it runs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from corridor import SMALL_CAMERA, ahead, draw

from sfm_ros.config import SfmConfig, config_from_dict, iter_fields
from sfm_ros.datatypes import DepthMap, Frame
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec, road_depth
from sfm_ros.odometry import VisualOdometry
from sfm_ros.window import Window

CAMERA = SMALL_CAMERA
OTHER_VALUES: dict[str, Any] = {
    "window.max_gap_s": 0.15,
    "health.min_depth_spread": 10.0,
    "health.max_speed": 1.0,
    "health.max_rotation_deg_per_s": 1.0,
    "health.min_contrast": 100.0,
    "health.min_structure": 1.0,
    "health.max_exposure_jump": 10.0,
    "health.min_brightness": 200.0,
    "health.max_overexposed": 0.0,
    "health.min_sharpness": 1.0,
    "health.reject_frozen": False,
    "odometry.depth_smoothing": 0.7,
    "tracker.max_tracks": 50,
    "tracker.max_width": 320,
    "tracker.min_inliers": 2000,
    "scale.max_sigma": 0.0,
    "scale.max_age_s": 0.05,
    "noise.translation_per_m": 1.0,
    "noise.rotation_deg_per_m": 5.0,
    "noise.gap_distance_m": 100.0,
}
TIMES_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9, 1.0, 2.0)
FLAT, BRIGHTER, REPEATED = 4, 6, 8


@cache
def street() -> list[Frame]:
    """A turn in a street; two gaps, a change of brightness, a repeated image."""
    images = [draw(pose, CAMERA, seed=i) for i, pose in enumerate(ahead([0.5] * 9, yaw_deg=0.5))]
    images = [np.clip(image + 20.0 * (i >= BRIGHTER), 0, 255) for i, image in enumerate(images)]
    images[REPEATED] = images[REPEATED - 1]
    return [
        Frame(stamp_ns=round(time_s * 1e9), rgb=image.astype(np.uint8), intrinsics=CAMERA)
        for time_s, image in zip(TIMES_S, images, strict=True)
    ]


def depth(window: Window) -> DepthMap:
    """That of a road; once the same everywhere, so that nothing corrects the scale."""
    is_flat = window.stamps_ns[-1] == street()[FLAT].stamp_ns
    return np.full((96, 256), 9.0, np.float32) if is_flat else road_depth(window)


@cache
def trace(changed: SfmConfig) -> list[tuple]:
    """What a run publishes whose options change after the second frame."""
    start = config_from_dict({"depth": {"mode": "network"}})
    odometry = VisualOdometry(FakeEngine(fake_spec(256, 96), depth=depth), start)
    published = []
    for index, frame in enumerate(street()):
        if index == 2:
            odometry.configure(changed)
        e = odometry.step(frame)
        assert e.T_odom_camera is not None
        total = None if e.depth is None else float(np.nansum(e.depth))
        pose = e.T_odom_camera.tolist(), e.covariance.tolist()
        published.append((e.status, e.reasons, *pose, total))
    return published


def test_every_live_option_has_another_value() -> None:
    live = {name for name, option, _ in iter_fields() if option.metadata["live"]}
    of_the_node = {"depth.max_uncertainty"} | {name for name in live if name.startswith("node.")}
    assert OTHER_VALUES.keys() == live - of_the_node


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_live_option_changes_the_run(name: str) -> None:
    block, key = name.split(".")
    assert trace(config_from_dict({block: {key: OTHER_VALUES[name]}})) != trace(SfmConfig())
