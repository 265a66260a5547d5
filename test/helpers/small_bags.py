"""Small bags with ground truth on every kind of topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.writer import BagTopics
from sfm_ros.datatypes import OPTICAL_FRAME, CameraIntrinsics, FloatArray, Frame, RgbImage
from sfm_ros.geometry import make_transform, optical_to_body, quat_xyzw_from_matrix, so3_exp
from sfm_ros.source import SourceItem

WIDTH, HEIGHT = 64, 32
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
ESTIMATED_STEP_M = 0.7
"""Step of networks that estimate half of the ground truth's, see `pose`."""
CAMERA = CameraIntrinsics(width=WIDTH, height=HEIGHT, fx=40.0, fy=40.0, cx=31.5, cy=15.5)


def stamp(index: int) -> int:
    return START_NS + index * PERIOD_NS


def pose(index: int, step_m: float = 1.4) -> FloatArray:
    """A camera that moves ahead and turns slightly to the right, in optical axes."""
    T_prev_curr = make_transform(so3_exp([0.0, 0.01, 0.0]), [0.0, 0.0, step_m])
    return np.linalg.matrix_power(T_prev_curr, index)


def body_pose(index: int, step_m: float = 1.4) -> tuple[float, ...]:
    """The same in body axes, as a node publishes it: position and quaternion (x, y, z, w)."""
    T = optical_to_body(pose(index, step_m))
    return (*T[:3, 3], *quat_xyzw_from_matrix(T[:3, :3]))


def image(index: int, width: int = WIDTH, height: int = HEIGHT) -> RgbImage:
    """A smooth random pattern that grows from frame to frame, as if approached."""
    noise = np.random.default_rng(4).integers(0, 256, (height // 3, width // 3, 3), np.uint8)
    pattern = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    middle = ((width - 1) / 2, (height - 1) / 2)
    zoom = cv2.getRotationMatrix2D(middle, 0.0, 1.0 + 0.03 * index)
    grown = cv2.warpAffine(pattern, zoom, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(grown, dtype=np.uint8)


class SmallSequence:
    """Images of a camera with the poses of `pose`."""

    name = "a sequence"

    def __init__(self, frames: int = 12, with_poses: bool = True) -> None:
        self._images = [image(index) for index in range(frames)]
        self._with_poses = with_poses

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[SourceItem]:
        for index, rgb in enumerate(self._images):
            yield SourceItem(
                frame=Frame(stamp_ns=stamp(index), rgb=rgb, intrinsics=CAMERA),
                T_world_camera=pose(index) if self._with_poses else None,
            )


def write(
    bag: Path,
    messages: list[tuple[str, Any, int]],
    frames: int = 12,
    with_poses: bool = False,
    latched: tuple[str, ...] = ("/tf_static",),
) -> Path:
    """A bag of a sequence with additional messages: (topic, message, stamp)."""
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        entries = [(at, topic, message) for topic, message, at in messages]
        entries += [(item.frame.stamp_ns, "", item) for item in SmallSequence(frames, with_poses)]
        for at, topic, message in sorted(entries, key=lambda entry: (entry[0], entry[1])):
            if topic:
                topics.add(topic, message, at, topic in latched)
            else:
                topics.frame(message)
    return bag


__all__ = [
    "CAMERA", "ESTIMATED_STEP_M", "OPTICAL_FRAME", "SmallSequence", "body_pose", "image", "pose",
    "stamp", "write",
]  # fmt: skip
