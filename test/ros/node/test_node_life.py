"""How the node starts, waits, refuses and ends."""

from __future__ import annotations

import hashlib
import itertools
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rig.probe import FAKE_NODE, REAL_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rig.camera import FRAME, PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND
from rig.fault_rig import LATCHED
from sensor_msgs.msg import CompressedImage

from sfm_ros.geometry import R_BODY_OPTICAL, make_transform, so3_exp
from sfm_ros.model_spec import FORMAT
from sfm_ros.ros.compat import STATIC_TF_QOS
from sfm_ros.ros.conversions import T_BODY_OPTICAL, stamp_to_ns, transform_message

Start = Callable[[list[str]], Program]


def test_live_node_waits_for_calibration_then_reports_the_robot_it_is_mounted_on(
    probe: Probe, start: Start
) -> None:
    """Compressed images, best effort, camera 1 m ahead of base_link and looking to the left."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    T_base_link = make_transform(so3_exp([0, 0, np.pi / 2]), [1.0, 0.0, 0.5])
    transforms = [
        transform_message(T_base_link, 0, "base_link", "camera_link"),
        transform_message(T_BODY_OPTICAL, 0, "camera_link", FRAME),
    ]
    odometry = probe.listen("/front/sfm_node/odometry", Odometry)
    moving = probe.listen("/tf", tf2_msgs.TFMessage)
    parameters = ros_arguments(
        node__compressed="true", node__extrinsics_wait_s=20.0, window__max_gap_s=1000.0
    )
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/front", "-r", "image:=eye"])
    probe.publish("/tf_static", tf2_msgs.TFMessage(transforms=transforms), STATIC_TF_QOS)
    stamp = 0

    def show(level: int) -> None:
        nonlocal stamp
        stamp += PERIOD_NS
        raw = image_message(level, stamp)
        image = np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, 3)
        png = cv2.imencode(".png", image)[1].tobytes()
        message = CompressedImage(header=raw.header, format="png", data=png)
        probe.publish("/front/eye/compressed", message)

    def waits() -> bool:
        show(STAND)
        return "no usable calibration on /front/camera_info" in program.said

    wait_until(waits, "the warning that names the topic")
    assert not odometry

    def tracks() -> bool:
        # As a driver does, with every image: a single one may be lost on a busy machine.
        probe.publish("/front/camera_info", info_message())
        show(STAND)
        return bool(odometry)

    wait_until(tracks, "odometry")
    # A live node may pass over images, never the newest: from here on the steps are known.
    wait_until(lambda: stamp_to_ns(odometry[-1].header.stamp) == stamp, "the last one at rest")
    show(FORWARD)
    wait_until(lambda: stamp_to_ns(odometry[-1].header.stamp) == stamp, "the step ahead")
    assert odometry[-1].child_frame_id == "base_link"
    # Ahead for the camera is to the left for the robot.
    p = odometry[-1].pose.pose.position
    assert [p.x, p.y, p.z] == pytest.approx([0.0, 0.5, 0.0], abs=1e-6)
    assert odometry[-1].twist.twist.linear.y == pytest.approx(5.0)
    children = {m.transforms[0].child_frame_id for m in moving}
    assert children == {"base_link"}
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_whose_library_hangs(
    number: signal.Signals, probe: Probe, start: Start
) -> None:
    """In an inference of a minute: longer than a test waits."""
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    space = f"/hangs_on_{number.name}"
    program = start([*FAKE_NODE, '{"busy_s": 60}', *parameters, "-r", f"__ns:={space}"])
    probe.publish(f"{space}/camera_info", info_message())
    for index in range(3):
        probe.publish(f"{space}/image", image_message(STAND, (index + 1) * PERIOD_NS))
    program.wait_for("window_not_full")
    assert program.end(number) == 0, program.said
    assert "Traceback" not in program.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_with_success(
    number: signal.Signals, probe: Probe, start: Start
) -> None:
    name = f"ends_on_{number.name}"
    remap = ["--ros-args", "-r", f"__node:={name}"]
    program = start([*FAKE_NODE, "{}", *remap])
    wait_until(lambda: name in probe.node.get_node_names(), "the node")
    assert program.end(number) == 0, program.said
    assert "Traceback" not in program.said


def write_bundle(folder: Path, depth: bytes, spec_format: str = FORMAT) -> Path:
    """A model bundle whose graphs hold these bytes, with right hashes."""
    folder.mkdir()
    digest = hashlib.sha256(depth).hexdigest()
    for name in ("depth.onnx", "pose.onnx"):
        (folder / name).write_bytes(depth)
    (folder / "model.yaml").write_text(
        f"format: {spec_format}\nname: test\nwidth: 64\nheight: 32\nsequence_length: 3\n"
        "target_index: 1\ntraining_fx: 40.0\nmetric: true\nmin_depth: 0.1\nmax_depth: 100.0\n"
        f"depth_sha256: {digest}\npose_sha256: {digest}\n"
    )
    return folder


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("missing", "no model '.*nowhere'"),
        ("truncated", "is damaged.*its sha256 is .* expects"),
        ("foreign", "contract 'somebody.else/3', this program reads 'sfm_ros.model/1'"),
        ("no graph", "cannot load .*depth.onnx"),
    ],
)
def test_a_wrong_model_is_refused_before_anything_is_subscribed(
    case: str, expected: str, tmp_path: Path, start: Start
) -> None:
    bundle = tmp_path / "nowhere"
    if case != "missing":
        other = "somebody.else/3" if case == "foreign" else FORMAT
        bundle = write_bundle(tmp_path / "bundle", b"these are not weights" * 10, other)
    if case == "truncated":
        (bundle / "depth.onnx").write_bytes(b"these are")
    program = start([*REAL_NODE, *ros_arguments(model__bundle=str(bundle))])
    assert program.end() == 1
    program.wait_for(f"sfm_node cannot start: .*{expected}")
    assert "Traceback" not in program.said


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            {"node__odom_fram": "map"},
            "unknown parameter 'node.odom_fram'; known are: .*odom_frame",
        ),
        ({"model__threads": 0}, "model.threads"),
        ({"node__image_queue": "sometimes"}, "'sometimes', expected one of: newest, every"),
        ({"health__max_speed": "fast"}, "'health.max_speed' is 'fast' .*expected float"),
        (
            {"qos_overrides./image.subscription.reliability": "perhaps"},
            "cannot subscribe to /image .*`perhaps`",
        ),
        ({"node__base_frame": "/base_link"}, "'/base_link', .*without slash"),
        ({"node__odom_frame": "base_link"}, "a frame other than node.base_frame"),
        ({"window__max_gap_s": 1e308}, "'window.max_gap_s'.*1e.308"),
        ({"use_sim_time": "perhaps"}, "'use_sim_time' to 'perhaps'"),
    ],
    ids=["unknown", "range", "choice", "type", "qos", "slash", "one frame", "huge", "rcl"],
)
def test_a_wrong_parameter_is_refused(parameters: dict, expected: str, start: Start) -> None:
    program = start([*FAKE_NODE, "{}", *ros_arguments(**parameters)])
    assert program.end() == 1
    program.wait_for(f"sfm_node cannot start: .*{expected}")
    assert "Traceback" not in program.said


def test_a_command_line_that_ros_does_not_understand_is_refused(start: Start) -> None:
    program = start([*FAKE_NODE, "{}", "--ros-args", "--params-file", "/no/where.yaml"])
    assert program.end() == 1
    program.wait_for("sfm_node cannot start: .*/no/where.yaml")
    assert "Traceback" not in program.said


def test_a_whole_number_is_taken_where_a_fraction_is_meant(probe: Probe, start: Start) -> None:
    parameters = ros_arguments(health__max_speed=50)
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__node:=fifty"])
    wait_until(lambda: "fifty" in probe.node.get_node_names(), "the node")
    assert program.end(signal.SIGINT) == 0


def test_an_engine_that_fails_ends_the_node_with_the_reason(probe: Probe, start: Start) -> None:
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    program = start([*FAKE_NODE, '{"fail_after": 1}', *parameters, "-r", "__ns:=/failing"])
    probe.publish("/failing/camera_info", info_message())
    for index in range(4):
        probe.publish("/failing/image", image_message(STAND, (index + 1) * PERIOD_NS))
    assert program.end() == 1
    program.wait_for("sfm_node stopped: the engine 'fake' failed: out of memory, said the library")
    assert "Traceback" not in program.said


def test_axes_of_the_camera_follow_rep_103() -> None:
    assert R_BODY_OPTICAL @ [0, 0, 1] == pytest.approx([1, 0, 0])  # depth is ahead
    assert R_BODY_OPTICAL @ [1, 0, 0] == pytest.approx([0, -1, 0])  # right is minus left
    assert R_BODY_OPTICAL @ [0, 1, 0] == pytest.approx([0, 0, -1])  # down is minus up


def test_images_that_come_while_the_process_stands_still_are_not_lost(
    probe: Probe, start: Start
) -> None:
    """A live node on a busy machine: it hears of all of them, and works on the newest."""
    states = probe.listen("/stalled/sfm_node/status", DiagnosticStatus, LATCHED)
    parameters = ros_arguments(node__extrinsics_wait_s=0.0)
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/stalled"])

    stamps = itertools.count(PERIOD_NS, PERIOD_NS)

    def show() -> None:
        probe.publish("/stalled/image", image_message(STAND, next(stamps)))

    def told() -> int:
        values = {e.key: e.value for e in states[-1].values} if states else {}
        return int(values.get("received", 0))

    def heard_the_first() -> int:  # what comes before the node knows the camera is not its fault
        show()
        time.sleep(0.1)
        return told()

    def settled() -> bool:
        before, words = told(), len(states)
        wait_until(lambda: len(states) > words + 1, "two words of the node")
        return told() == before

    probe.publish("/stalled/camera_info", info_message())
    wait_until(heard_the_first, "an image that arrives")
    wait_until(settled, "the count of those before")

    def hears_all_of_a_stall() -> bool:
        before = told()
        program.process.send_signal(signal.SIGSTOP)
        for _ in range(9):
            show()
        program.process.send_signal(signal.SIGCONT)
        wait_until(settled, "the count of those during the stall")
        return told() == before + 9

    # A short queue loses some every time; the transport of a busy machine may lose one in a while.
    assert any(hears_all_of_a_stall() for _ in range(3))
