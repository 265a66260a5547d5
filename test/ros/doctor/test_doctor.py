"""sfm_doctor beside a running system: it names faults, and passes a system without faults."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rig.probe import FAKE_NODE, TIMEOUT_S, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rig.camera import FRAME, HEIGHT, WIDTH, info_message
from rig.fake_node import STAND
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.geometry import R_BODY_OPTICAL, make_transform
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import stamp_from_ns, transform_message
from sfm_ros.ros.doctor.command import main as doctor_main

DOCTOR = [sys.executable, "-m", "sfm_ros.ros.doctor.command", "--no-engine", "--seconds", "1.5"]
PATIENCE_S = 60.0  # discovery and observation come first
ATTEMPTS = 5
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

Rows = dict[str, list[dict[str, Any]]]


class Driver:
    """Publishes images at 20 Hz from a thread until it is closed, calibrations too or once."""

    def __init__(
        self, probe: Probe, space: str, info: CameraInfo, stamp: Callable[[], int], once: bool
    ) -> None:
        self._node = probe.node
        self._images = probe.node.create_publisher(Image, f"{space}/image", BEST_EFFORT)
        qos = LATCHED if once else BEST_EFFORT
        self._infos = probe.node.create_publisher(CameraInfo, f"{space}/camera_info", qos)
        self._info, self._stamp, self._once = info, stamp, once
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        image = STAND + 30 * np.sin(x / 9) * np.cos(y / 7)
        message = Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH)
        message.header.frame_id = self._info.header.frame_id = FRAME
        if self._once:
            self._infos.publish(self._info)
        while not self._ended.wait(0.05):
            image = np.roll(image, 1, axis=1)
            message.data = np.repeat(image.astype(np.uint8), 3).tobytes()
            message.header.stamp = self._info.header.stamp = stamp_from_ns(self._stamp())
            if not self._once:
                self._infos.publish(self._info)
            self._images.publish(message)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(TIMEOUT_S)
        for publisher in (self._images, self._infos):
            self._node.destroy_publisher(publisher)


@pytest.fixture
def driver(probe: Probe) -> Iterator[Callable[..., Driver]]:
    """Starts drivers that end with the test."""
    drivers: list[Driver] = []

    def run(
        space: str, info: CameraInfo, stamp: Callable[[], int] = time.time_ns, once: bool = False
    ) -> Driver:
        drivers.append(Driver(probe, space, info, stamp, once))
        return drivers[-1]

    yield run
    for each in drivers:
        each.close()


def examine(program: Program) -> tuple[int, Rows]:
    """Exit code, and the checks by level."""
    code = program.process.wait(PATIENCE_S)
    program.end()
    rows = json.loads(program.output[program.output.index("{") :])["checks"]
    return code, {
        level: [r for r in rows if r["level"] == level] for level in ("OK", "WARN", "FAIL")
    }


def examine_until(
    start: Callable[[list[str]], Program],
    condition: Callable[[int, Rows], bool],
    *arguments: str,
) -> tuple[int, Rows]:
    """Examine again until a doctor has discovered and received everything: it is given seconds.

    On a busy machine that is not always enough. The last result is returned in any case.
    """
    for _ in range(ATTEMPTS):
        code, rows = examine(start([*DOCTOR, "--json", *arguments]))
        if condition(code, rows):
            break
    return code, rows


def text(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"{row['check']}: {row['found']} -> {row['advice']}" for row in rows)


def test_system_without_faults_passes(
    probe: Probe, start: Callable[[list[str]], Program], driver: Callable[..., Driver]
) -> None:
    node = start([*FAKE_NODE, "{}", *ros_arguments(node__extrinsics_wait_s=5.0)])
    tf = compat.make_static_broadcaster(probe.node)
    if tf is not None:
        extrinsics = make_transform(R_BODY_OPTICAL, np.array([0.3, 0.0, 1.2]))
        tf.sendTransform(transform_message(extrinsics, 0, "base_link", FRAME))
    driver("", info_message())
    node.wait_for("odometry of")
    expected = [
        "qos /image: /probe (best_effort) -> /sfm_node (best_effort)",
        "image /image: 128x64 rgb8",
        "middleware: rmw_",
        *(["of 'camera_optical': at (0.30, 0.00, 1.20) m in 'base_link'"] if tf else []),
    ]
    code, rows = examine_until(
        start, lambda code, rows: code == 0 and all(e in text(rows["OK"]) for e in expected)
    )
    assert code == 0, text(rows["FAIL"])
    assert [e for e in expected if e not in text(rows["OK"])] == []
    assert "stamps /image" in text(rows["OK"] + rows["WARN"])


def test_faults_of_a_system_are_named(
    probe: Probe, start: Callable[[list[str]], Program], driver: Callable[..., Driver]
) -> None:
    """An image of another size than its calibration, no stamps, incompatible subscribers."""
    driver("/eye", info_message(width=640, height=320), stamp=lambda: 0)
    reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    latched = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    incompatible = [
        probe.node.create_subscription(Image, "/eye/image", print, reliable),
        probe.node.create_subscription(CameraInfo, "/eye/camera_info", print, latched),
    ]
    second = probe.node.create_publisher(Image, "/eye/image", BEST_EFFORT)
    moving = compat.make_broadcaster(probe.node)
    expected = [
        "stamps are zero",
        "of 640x320 pixels",
        "the images have 128x64",
        "qos /eye/image: /probe -> /probe never connect: the publisher is best eff",
        "qos /eye/camera_info: /probe -> /probe never connect: the publisher is vol",
        "publishers /eye/image: 2 of them",
        *(["'eye_link' has 2 parents: boom, mast"] if moving else []),
    ]
    ended = threading.Event()

    def publish_transforms() -> None:
        while moving is not None and not ended.wait(0.05):
            for parent in ("mast", "boom"):
                moving.sendTransform(transform_message(np.eye(4), 1, parent, "eye_link"))

    thread = threading.Thread(target=publish_transforms)
    thread.start()
    names = ["--image-topic", "eye/image", "--camera-info-topic", "eye/camera_info"]
    try:
        code, rows = examine_until(
            start, lambda _, rows: all(e in text(rows["FAIL"]) for e in expected), *names
        )
    finally:
        ended.set()
        thread.join(TIMEOUT_S)
        for subscription in incompatible:
            probe.node.destroy_subscription(subscription)
        probe.node.destroy_publisher(second)
    failed = text(rows["FAIL"])
    assert code == 1
    assert [e for e in expected if e not in failed] == []
    assert "has no publisher" not in failed


def test_a_calibration_published_once_is_received_with_the_overrides_of_the_doctor(
    probe: Probe, start: Callable[[list[str]], Program], driver: Callable[..., Driver]
) -> None:
    driver("/once", info_message(), once=True)
    remapped = ["-r", "image:=/once/image", "-r", "camera_info:=/once/camera_info"]
    deaf = start([*FAKE_NODE, "{}", *ros_arguments(node__extrinsics_wait_s=0.0), *remapped])
    deaf.wait_for("camera_info")  # it waits for one
    arguments = ["--image-topic", "/once/image"]
    _, rows = examine_until(start, lambda _, rows: "only once" in text(rows["WARN"]), *arguments)
    advice = text(rows["WARN"])
    assert "no calibration arrived" not in text(rows["FAIL"])  # the doctor receives it itself
    options = re.findall(r"(qos_overrides\S+): (\w+)", advice)
    assert len(options) == 2, advice
    deaf.end(signal.SIGINT)
    overrides = [word for name, value in options for word in ("-p", f"{name}:={value}")]
    answering = start([*FAKE_NODE, "{}", "--ros-args", *overrides, *remapped])
    answering.wait_for("odometry of")


def test_node_on_the_wrong_topic_and_clock(
    probe: Probe, start: Callable[[list[str]], Program], driver: Callable[..., Driver]
) -> None:
    start([*FAKE_NODE, "{}", *ros_arguments(use_sim_time="true"), "-r", "image:=/right/image"])
    driver("/left", info_message())
    wait_until(lambda: probe.node.count_subscribers("/right/image"), "the node")
    expected = [
        "it has no publisher; images are on /left/image ->",
        "image /right/image: nothing arrived",
        "use_sim_time is set, but /clock is not published",
    ]
    code, rows = examine_until(
        start, lambda _, rows: all(e in text(rows["FAIL"]) for e in expected)
    )
    assert code == 1
    assert [e for e in expected if e not in text(rows["FAIL"])] == []


def test_inactive_managed_node_gets_the_missing_transition(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    pytest.importorskip("lifecycle_msgs", reason="lifecycle_msgs is not installed")
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    start([*FAKE_NODE, '{"lifecycle": true}'])
    client = probe.client(ChangeState, "/sfm_node/change_state")
    unconfigured = "node /sfm_node: a managed node that is not configured -> "
    unconfigured += "ros2 lifecycle set /sfm_node configure, then"
    _, rows = examine_until(start, lambda _, rows: unconfigured in text(rows["WARN"]))
    assert unconfigured in text(rows["WARN"])

    transition = Transition(id=Transition.TRANSITION_CONFIGURE)
    future = client.call_async(ChangeState.Request(transition=transition))
    wait_until(future.done, "the transition")
    inactive = "node /sfm_node: a managed node that is not active -> "
    inactive += "ros2 lifecycle set /sfm_node activate"
    _, rows = examine_until(
        start, lambda _, rows: inactive in text(rows["WARN"]), "--node", "sfm_node"
    )
    probe.node.destroy_client(client)
    assert inactive in text(rows["WARN"])
    assert "/sfm_node/depth" not in text(rows["FAIL"])


def test_node_discovered_late_is_examined(
    probe: Probe, start: Callable[[list[str]], Program], driver: Callable[..., Driver]
) -> None:
    """Within its three seconds; on a busy machine that may need another doctor."""
    driver("/early", info_message())
    for _ in range(ATTEMPTS):
        wait_until(lambda: not probe.node.count_subscribers("/early/image"), "no subscriber")
        doctor = start([*DOCTOR, "--json", "--seconds", "3"])
        wait_until(lambda: probe.node.count_subscribers("/early/image"), "the subscription")
        late = rclpy.create_node("late", context=probe.node.context)
        late.create_publisher(Odometry, "~/odometry", 1)
        late.create_subscription(Image, "/other/image", print, 1)
        _, rows = examine(doctor)
        late.destroy_node()
        if "node /late" in text(rows["WARN"]):
            break
    assert "sfm_doctor: listening for 3 s to /early/image" in doctor.output, "what it does"
    assert re.search(r"sfm_doctor: [123] of 3 s, \d+ images", doctor.output)
    assert "node /late: no diagnostics arrived" in text(rows["WARN"])
    assert "image /other/image: nothing arrived" in text(rows["FAIL"])


def test_two_broadcasters_of_one_transform(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    """Both publish odom -> base_link at 20 Hz; a third node another transform."""
    nodes = [rclpy.create_node(name, context=probe.node.context) for name in ("a", "b", "c")]
    broadcasters = [compat.make_broadcaster(node) for node in nodes]
    if None in broadcasters:
        pytest.skip("there are no messages of tf2")
    children = ("base_link", "base_link", "arm")
    ended = threading.Event()

    def broadcast() -> None:
        while not ended.wait(0.05):
            for broadcaster, child in zip(broadcasters, children, strict=True):
                transform = transform_message(np.eye(4), time.time_ns(), "odom", child)
                broadcaster.sendTransform(transform)

    thread = threading.Thread(target=broadcast)
    thread.start()
    try:
        shared = "two nodes broadcast 'odom' -> 'base_link'"
        code, rows = examine_until(start, lambda _, rows: shared in text(rows["FAIL"]))
    finally:
        ended.set()
        thread.join(TIMEOUT_S)
        for node in nodes:
            node.destroy_node()
    assert code == 1 and shared in text(rows["FAIL"]) and "/a, /b, /c" in text(rows["FAIL"])
    assert "'arm'" not in text(rows["FAIL"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--image-topic", "foo bar"],
            "'foo bar' is not a valid name in ROS: topic name must not contain",
        ),
        (["--node", "1st"], "'1st' is not a valid name in ROS"),
        (["--ros-args", "-p", "x"], "ROS does not start with ['--ros-args', '-p', 'x']"),
        (["--ros-args", "-p", "use_sim_time:=3"], "expecting type 'BOOL'"),
    ],
)
def test_invalid_ros_arguments_are_refused_in_one_line(
    arguments: list[str], reason: str, start: Callable[[list[str]], Program]
) -> None:
    doctor = start([*DOCTOR, "--json", *arguments])
    code, rows = examine(doctor)
    assert code == 1 and reason in rows["FAIL"][0]["found"]
    assert "\n" not in rows["FAIL"][0]["found"] and "Traceback" not in doctor.output


@pytest.mark.parametrize("option", ["--image-topic", "--camera-info-topic", "--node"])
def test_empty_name_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor_main([option, ""])
    assert ended.value.code == 2
    assert f"argument {option}: the name is empty" in capsys.readouterr().err


@pytest.mark.parametrize("domain", ["one", "300"])
def test_invalid_domain_is_named_before_the_middleware_fails(
    domain: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    assert doctor_main(["--no-engine"]) == 1
    assert f"ROS_DOMAIN_ID is '{domain}'" in capsys.readouterr().out
