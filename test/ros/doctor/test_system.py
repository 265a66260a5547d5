"""Which cameras and nodes sfm_doctor examines, over graphs that a fake of the system returns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sfm_ros.bags.camera import CAMERA_INFO, RAW_IMAGE
from sfm_ros.config import SfmConfig
from sfm_ros.doctor.broadcasters import BroadcastCounts
from sfm_ros.doctor.finding import Finding, Level
from sfm_ros.doctor.observed import Camera, Endpoint, Sample, Stream
from sfm_ros.ros.doctor import system as system_module
from sfm_ros.ros.doctor.system import SystemOptions, _Examination, _with_parameters
from sfm_ros.ros.process.dds_profile import VARIABLES

OPTIONS = SystemOptions(
    image_topic=None, camera_info_topic=None, node=None, seconds=1.0, config=SfmConfig(),
    ask_node=True, load_engine=False,
)  # fmt: skip


def endpoint(node: str, topic: str, type_name: str, is_publisher: bool) -> Endpoint:
    return Endpoint(
        node=node, topic=topic, type_name=type_name, is_publisher=is_publisher,
        reliability="reliable", durability="volatile",
    )  # fmt: skip


def odometry_node(name: str, camera: str) -> list[Endpoint]:
    return [
        endpoint(name, f"{name}/odometry", "nav_msgs/msg/Odometry", True),
        endpoint(name, f"{camera}/image", RAW_IMAGE, False),
        endpoint(name, f"{camera}/info", CAMERA_INFO, False),
    ]


DRIVER = endpoint("/driver", "/left/image", RAW_IMAGE, True)


class FakeSystem:
    """A SystemWatch whose graph changes at each reading, until the last one."""

    def __init__(self, *graphs: list[Endpoint], **parameters: Any) -> None:
        self._graphs, self._parameters = list(graphs), parameters
        self.received: list[tuple[list[str], str | None]] = []
        self.cameras: dict[str, Camera] = {}
        self.edges: dict = {}
        self.broadcasts = BroadcastCounts()
        self.clock_ns = None

    def discover(self) -> None:
        pass

    def endpoints(self) -> list[Endpoint]:
        return self._graphs.pop(0) if len(self._graphs) > 1 else self._graphs[0]

    def receive(self, images: list[str], info: str | None, seconds: float) -> None:
        self.received.append((images, info))

    def idle_nodes(self) -> dict[str, bool]:
        return {"/managed": True}

    def nodes(self) -> list[str]:
        return []

    def parameters(self, node: str, names: list[str]) -> dict[str, Any]:
        return {"asked": node, **self._parameters}

    def status_of(self, node: str) -> None:
        return None


def examine(system: FakeSystem, options: SystemOptions = OPTIONS) -> list[Finding]:
    return _Examination(options, system).findings()  # type: ignore[arg-type]


def checks(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings if finding.check.startswith("node ")}


def test_cameras_of_a_running_node() -> None:
    system = FakeSystem([DRIVER, *odometry_node("/sfm_node", "/right")])
    assert checks(examine(system)) == {"node /sfm_node", "node /managed"}
    assert system.received == [(["/right/image"], "/right/info")]


def test_every_camera_without_a_node() -> None:
    system = FakeSystem([DRIVER])
    examine(system)
    assert system.received == [(["/left/image"], None)]


def test_requested_camera_and_node() -> None:
    graph = [DRIVER, *odometry_node("/a", "/right"), *odometry_node("/b", "/left")]
    system = FakeSystem(graph)
    assert checks(examine(system, replace(OPTIONS, node="/b"))) == {"node /b"}
    assert system.received == [(["/left/image"], "/left/info")]
    system = FakeSystem(graph)
    examine(system, replace(OPTIONS, image_topic="/x", camera_info_topic="/y"))
    assert system.received == [(["/x"], "/y")]


def test_cameras_of_a_node_discovered_late() -> None:
    system = FakeSystem([DRIVER], [DRIVER, *odometry_node("/late", "/right")])
    assert "node /late" in checks(examine(system))
    assert system.received == [(["/left/image"], None), (["/right/image"], "/right/info")]


def lossy_camera(payload: int, every: int) -> Camera:
    """30 images per second of which every n-th arrives, with all calibrations."""
    period_ns = 33_333_333
    infos = [Sample(stamp_ns=i * period_ns, arrived_ns=i * period_ns) for i in range(1, 122)]
    return Camera(
        images=Stream(
            topic="/left/image", type_name=RAW_IMAGE, samples=infos[::every], payload=payload
        ),
        info_topic="/left/camera_info",
        infos=Stream(topic="/left/camera_info", type_name=CAMERA_INFO, samples=infos),
    )


@pytest.mark.parametrize("payload", [921_600, 100_000])
def test_missing_frames_are_joined_with_their_cause(
    payload: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second image is lost, regularly; only large ones by the missing profile."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(system_module, "get_rmw_implementation_identifier", lambda: "rmw_fastrtps")
    system = FakeSystem([DRIVER])
    system.cameras = {"/left/image": lossy_camera(payload, 2)}
    findings = examine(system)
    (missing,) = [f for f in findings if "frames are missing" in f.found]
    assert missing.level is Level.FAIL and missing.found.startswith("50 % of the frames")
    is_large = payload > 512 * 1024
    assert ("no Fast DDS profile is set" in missing.found) == is_large
    assert ("export " in missing.advice) == is_large
    assert sum("no Fast DDS profile" in f.found for f in findings) == int(is_large)


def test_without_a_node_the_image_topics_are_listed() -> None:
    (absent,) = [f for f in examine(Nothing([DRIVER])) if f.check == "node"]
    assert absent.found.endswith("is not running; images are on /left/image")
    assert absent.advice.endswith("image_topic:=/left/image")
    (absent,) = [f for f in examine(Nothing([])) if f.check == "node"]
    assert "no topic has images" in absent.found and "driver" in absent.advice


class Nothing(FakeSystem):
    """No odometry node."""

    def idle_nodes(self) -> dict[str, bool]:
        return {}


def test_configuration_of_the_node() -> None:
    parameters = {"node.base_frame": "rover", "use_sim_time": False}
    config = _with_parameters(SfmConfig(), parameters)
    assert config.node.base_frame == "rover"
    assert _with_parameters(SfmConfig(), {"window.max_gap_s": "long"}) == SfmConfig()
