"""The recorder of an online run: which depth maps it keeps, in whatever order messages arrive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from rclpy.serialization import serialize_message
from rig.camera import FOCAL, PERIOD_NS, image_message, info_message

from sfm_ros.evaluation.runs.recording import Recording, RecordingWriter
from sfm_ros.ros.conversions import depth_to_image, header
from sfm_ros.ros.tools.run_recorder import RunRecorder

BEGIN_NS = 1_700_000_000_000_000_000


def stamp(index: int) -> int:
    return BEGIN_NS + index * PERIOD_NS


def depth_map(index: int) -> np.ndarray:
    return np.full((4, 6), 1.0 + index, dtype=np.float32)


class Arrivals:
    """Hands messages to a recorder that keeps every second image, as the middleware would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = RecordingWriter(folder)
        self.recorder = RunRecorder(self.writer, keep_every=2)

    def image(self, index: int) -> None:
        message = serialize_message(image_message(100, stamp(index)))
        self.recorder._on_image(message, {"source_timestamp": stamp(index)})

    def depth(self, index: int) -> None:
        self.recorder._on_depth(depth_to_image(depth_map(index), header(stamp(index), "camera")))

    def info(self) -> None:
        self.recorder._on_info(info_message())

    def kept(self) -> Recording:
        return Recording.load(self.folder)


@pytest.fixture
def arrivals(domain: int, tmp_path: Path) -> Iterator[Arrivals]:
    rclpy.init(domain_id=domain)
    made = Arrivals(tmp_path / "recording")
    yield made
    made.recorder.destroy_node()
    made.writer.close()
    rclpy.try_shutdown()


@pytest.mark.parametrize("order", itertools.permutations(("image", "depth", "info")), ids="-".join)
def test_depth_is_kept_in_any_order_of_arrival(arrivals: Arrivals, order: Sequence[str]) -> None:
    arrive: dict[str, Callable[[], None]] = {
        "image": lambda: arrivals.image(0),
        "depth": lambda: arrivals.depth(0),
        "info": arrivals.info,
    }
    for name in order:
        arrive[name]()
    recording = arrivals.kept()
    assert recording.depth_stamps_ns() == [stamp(0)]
    np.testing.assert_array_equal(recording.depth(stamp(0)).depth, depth_map(0))
    assert recording.depth(stamp(0)).K[0, 0] == FOCAL


def test_depth_of_an_image_that_is_not_kept_is_dropped(arrivals: Arrivals) -> None:
    arrivals.info()
    for index in (1, 0, 2, 3):
        arrivals.depth(index)
    for index in range(4):
        arrivals.image(index)
    assert arrivals.kept().depth_stamps_ns() == [stamp(0), stamp(2)]


def test_depth_that_waits_is_limited_to_the_newest(arrivals: Arrivals) -> None:
    arrivals.info()
    for index in range(200):
        arrivals.depth(index)
    for index in range(200):
        arrivals.image(index)
    assert arrivals.kept().depth_stamps_ns() == [stamp(index) for index in range(136, 200, 2)]
