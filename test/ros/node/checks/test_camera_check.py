"""What the node logs about the topic of its images, each fault once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.fake_ros import FakeNode

from sfm_ros.datatypes import Reason, TrackingStatus
from sfm_ros.ros.node.checks import camera as module
from sfm_ros.ros.node.checks.camera import CameraCheck
from sfm_ros.ros.node.run_statistics import RunStatistics
from sfm_ros.ros.process.dds_profile import PROFILE

TOPIC = "/image"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class GraphNode(FakeNode):
    """A node that sees a graph: topic -> (type, names of its publishers)."""

    def __init__(self) -> None:
        super().__init__()
        self.graph: dict[str, tuple[str, list[str]]] = {}
        self.publishers: Any = [SimpleNamespace(topic_name="/sfm_node/depth/image")]

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [(topic, [kind]) for topic, (kind, _) in self.graph.items()]

    def count_publishers(self, topic: str) -> int:
        return len(self.graph.get(topic, ("", []))[1])

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        names = self.graph.get(topic, ("", []))[1]
        return [SimpleNamespace(node_namespace="/", node_name=name) for name in names]


class Bench:
    """A check with a graph and a clock that the test sets."""

    def __init__(self, takes_every: bool = False) -> None:
        self.now_s = 100.0
        self.node: Any = GraphNode()
        self.statistics = RunStatistics(clock=lambda: self.now_s)
        self.statistics.resume()
        self._check = CameraCheck(self.node, self.statistics, TOPIC, takes_every=takes_every)

    def receive(self, count: int, lost: int = 0) -> None:
        """Images that come, with a publisher there, and how many the middleware has lost."""
        self.statistics.has_waiting = lambda: True
        for _ in range(count):
            self.statistics.image_received()
        self.statistics.set_lost_in_transport(lost)

    def after(self, seconds: float, level: str = "warning") -> list[str]:
        """What is newly logged after this time, while it is checked every second."""
        before = len(self.node.get_logger().lines)
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self._check.check()
        lines = self.node.get_logger().lines[before:]
        assert {found for found, _ in lines} <= {level}
        return [text for _, text in lines]


def test_without_a_camera_the_topics_of_images_are_named() -> None:
    bench = Bench()
    bench.node.graph = {
        "/cam/image_raw": (IMAGE, ["usb_cam"]),
        "/cam/image_raw/compressed": (COMPRESSED, ["usb_cam"]),
        "/sfm_node/depth/image": (IMAGE, ["sfm_node"]),
        "/imu": ("sensor_msgs/msg/Imu", ["imu"]),
        "/gone": (IMAGE, []),
    }
    assert bench.after(3) == []
    (line,) = bench.after(10)
    assert line.startswith("no image on /image for 4 s; nobody publishes there. Topics of images:")
    assert "/cam/image_raw (/usb_cam), /cam/image_raw/compressed (/usb_cam)." in line
    assert "image_topic:=TOPIC" in line and "-r image:=TOPIC" in line
    assert not any(topic in line for topic in ("/imu", "/gone", "/sfm_node/depth"))


def test_without_any_camera_the_driver_is_asked_for() -> None:
    (line,) = Bench().after(10)
    assert "no other topic of images either: is the camera's driver running" in line


def test_a_camera_that_is_discovered_late_is_named() -> None:
    bench = Bench()
    (line,) = bench.after(10)
    assert "no other topic of images" in line
    bench.node.graph = {"/cam/image_raw": (IMAGE, ["usb_cam"])}
    (line,) = bench.after(10)
    assert line.startswith("no image on /image for 11 s; nobody publishes there. Topics of")
    assert "/cam/image_raw (/usb_cam)" in line
    bench.node.graph[TOPIC] = (IMAGE, ["usb_cam"])
    (line,) = bench.after(10)
    assert line == "no image on /image for 21 s; its publishers have sent none: /usb_cam"
    assert bench.after(10) == []


def test_a_publisher_that_sends_nothing_is_named() -> None:
    bench = Bench()
    bench.node.graph = {TOPIC: (IMAGE, ["usb_cam"])}
    (line,) = bench.after(10)
    assert line == "no image on /image for 4 s; its publishers have sent none: /usb_cam"


def test_a_paused_node_waits_for_no_image() -> None:
    bench = Bench()
    bench.statistics.hold(TrackingStatus.IDLE, Reason.PAUSED)
    assert bench.after(20) == []


def test_images_that_cease_are_a_warning_each_time() -> None:
    bench = Bench()
    for _ in range(2):
        bench.statistics.image_received()
        assert bench.after(1) == []
        (line,) = bench.after(10)
        assert line == "no image on /image for 3.0 s; publishers there: none"


def test_images_that_wait_are_not_missing() -> None:
    """A node that is slower than the recording is busy, and the player waits for it."""
    bench = Bench(takes_every=True)
    bench.statistics.image_received()
    bench.statistics.has_waiting = lambda: True
    assert bench.after(10) == []


def test_the_end_of_a_bag_is_no_warning() -> None:
    bench = Bench(takes_every=True)
    bench.statistics.image_received()
    (line,) = bench.after(10, level="info")
    assert line.startswith("the bag is over, its player has left /image: 1 images received")
    found = bench.statistics.diagnostic("node", {"image_topic": TOPIC})
    assert found.message == "the bag is over: no_images"
    assert found.level == b"\x00"
    bench.statistics.image_received()  # it is played again
    assert bench.statistics.diagnostic("node", {"image_topic": TOPIC}).message == "initializing"


def test_a_second_publisher_is_logged_once() -> None:
    bench = Bench()
    bench.receive(1)
    bench.node.graph = {TOPIC: (IMAGE, ["left"])}
    assert bench.after(2) == []
    bench.node.graph = {TOPIC: (IMAGE, ["right", "left"])}
    (line,) = bench.after(10)
    assert line.startswith("2 publishers on /image (/left, /right): their images are mixed")
    bench.node.graph = {TOPIC: (IMAGE, ["left"])}
    assert bench.after(2) == []
    bench.node.graph = {TOPIC: (IMAGE, ["right", "left"])}
    assert len(bench.after(2)) == 1


@pytest.mark.parametrize(
    ("rmw", "remedy"),
    [
        ("rmw_fastrtps_cpp", f"export FASTRTPS_DEFAULT_PROFILES_FILE={PROFILE} FASTDDS_"),
        ("rmw_cyclonedds_cpp", "see 'messages are lost'"),
    ],
)
def test_losses_in_transport_are_logged_once_with_the_remedy(
    rmw: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "get_rmw_implementation_identifier", lambda: rmw)
    bench = Bench()
    bench.receive(100, lost=9)
    assert bench.after(2) == []
    bench.statistics.set_lost_in_transport(50)
    (line,) = bench.after(2)
    assert line.startswith("50 of 150 images on /image were lost in transport; ")
    assert remedy in line
    bench.statistics.set_lost_in_transport(90)
    assert bench.after(10) == []


def test_few_losses_of_many_images_are_no_reason_to_act() -> None:
    bench = Bench()
    bench.receive(1000, lost=15)
    assert bench.after(5) == []
