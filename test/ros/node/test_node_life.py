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
from rig.own_node import OwnNode
from sensor_msgs.msg import CompressedImage

from sfm_ros.geometry import R_BODY_OPTICAL, make_transform, so3_exp
from sfm_ros.model_spec import FORMAT
from sfm_ros.ros.compat import STATIC_TF_QOS
from sfm_ros.ros.conversions import T_BODY_OPTICAL, stamp_to_ns, transform_message

Start = Callable[[list[str]], Program]


def test_live_node_waits_for_calibration_and_reports_the_robot(probe: Probe, start: Start) -> None:
    """Compressed images, best effort, camera 1 m ahead of base_link, facing left."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    T_base_link = make_transform(so3_exp([0, 0, np.pi / 2]), [1.0, 0.0, 0.5])
    transforms = [
        transform_message(T_base_link, 0, "base_link", "camera_link"),
        transform_message(T_BODY_OPTICAL, 0, "camera_link", FRAME),
    ]
    odometry = probe.listen("/front/sfm_node/odometry", Odometry)
    moving = probe.listen("/tf", tf2_msgs.TFMessage)
    parameters = ros_arguments(
        node__compressed="true", node__extrinsics_wait_s=60.0, window__max_gap_s=1000.0
    )
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/front", "-r", "image:=eye"])
    probe.publish("/tf_static", tf2_msgs.TFMessage(transforms=transforms), STATIC_TF_QOS)
    stamp = 0

    def show(level: int, advance: bool = True) -> None:
        nonlocal stamp
        stamp += PERIOD_NS if advance else 0
        raw = image_message(level, stamp)
        image = np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, 3)
        png = cv2.imencode(".png", image)[1].tobytes()
        message = CompressedImage(header=raw.header, format="png", data=png)
        probe.publish("/front/eye/compressed", message)

    def is_waiting() -> bool:
        show(STAND)
        return "no usable calibration on /front/camera_info" in program.output

    wait_until(is_waiting, "the warning that names the topic")
    assert not odometry

    def is_tracking() -> bool:
        # As a driver does, with every image: a single one may be lost on a busy machine.
        probe.publish("/front/camera_info", info_message())
        show(STAND)
        return bool(odometry)

    wait_until(is_tracking, "odometry")

    def show_until_published(level: int) -> Odometry:
        """A live node may skip images, but not the newest, unless that is lost on its way."""
        show(level)

        def is_published() -> bool:
            show(level, advance=False)  # ignored as a duplicate if the first has arrived
            time.sleep(0.1)
            return stamp_to_ns(odometry[-1].header.stamp) == stamp

        wait_until(is_published, "the newest image")
        return odometry[-1]

    show_until_published(STAND)
    newest = show_until_published(FORWARD)
    assert newest.child_frame_id == "base_link"
    # Ahead for the camera is to the left for the robot.
    p = newest.pose.pose.position
    assert [p.x, p.y, p.z] == pytest.approx([0.0, 0.5, 0.0], abs=1e-6)
    assert newest.twist.twist.linear.y == pytest.approx(5.0)

    def is_on_tf() -> bool:  # a message may be lost before its publisher is known here
        show(STAND)
        return bool(moving)

    wait_until(is_on_tf, "the odometry on /tf")
    assert {m.transforms[0].child_frame_id for m in moving} == {"base_link"}
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_whose_library_hangs(
    number: signal.Signals, own_node: Callable[..., OwnNode]
) -> None:
    """In an inference of ten minutes: longer than a test waits."""
    node = own_node(f"/hangs_on_{number.name}", fake='{"busy_s": 600}')
    node.calibrate()
    node.show_until(lambda: "inferring" in node.program.output, "an inference")
    assert node.program.end(number) == 0, node.program.output
    assert "Traceback" not in node.program.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_node_with_success(
    number: signal.Signals, probe: Probe, start: Start
) -> None:
    name = f"ends_on_{number.name}"
    remap = ["--ros-args", "-r", f"__node:={name}"]
    program = start([*FAKE_NODE, "{}", *remap])
    wait_until(lambda: name in probe.node.get_node_names(), "the node")
    assert program.end(number) == 0, program.output
    assert "Traceback" not in program.output


def write_bundle(folder: Path, depth: bytes, spec_format: str = FORMAT) -> Path:
    """A model bundle whose graphs hold these bytes, with correct hashes."""
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
def test_wrong_model_is_refused(case: str, expected: str, tmp_path: Path, start: Start) -> None:
    bundle = tmp_path / "nowhere"
    if case != "missing":
        other = "somebody.else/3" if case == "foreign" else FORMAT
        bundle = write_bundle(tmp_path / "bundle", b"these are not weights" * 10, other)
    if case == "truncated":
        (bundle / "depth.onnx").write_bytes(b"these are")
    program = start([*REAL_NODE, *ros_arguments(model__bundle=str(bundle))])
    assert program.end() == 1
    program.wait_for(f"sfm_node cannot start: .*{expected}")
    assert "Traceback" not in program.output


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
        ({"node__base_frame": "/base_link"}, "'/base_link', .*without leading slash"),
        ({"node__odom_frame": "base_link"}, "a frame other than node.base_frame"),
        ({"window__max_gap_s": 1e308}, "'window.max_gap_s'.*1e.308"),
        ({"use_sim_time": "perhaps"}, "'use_sim_time' to 'perhaps'"),
    ],
    ids=["unknown", "range", "choice", "type", "qos", "slash", "one frame", "huge", "rcl"],
)
def test_wrong_parameter_is_refused(parameters: dict, expected: str, start: Start) -> None:
    program = start([*FAKE_NODE, "{}", *ros_arguments(**parameters)])
    assert program.end() == 1
    program.wait_for(f"sfm_node cannot start: .*{expected}")
    assert "Traceback" not in program.output


def test_invalid_ros_arguments_are_refused(start: Start) -> None:
    program = start([*FAKE_NODE, "{}", "--ros-args", "--params-file", "/no/where.yaml"])
    assert program.end() == 1
    program.wait_for("sfm_node cannot start: .*/no/where.yaml")
    assert "Traceback" not in program.output


def test_integer_is_accepted_for_a_float(probe: Probe, start: Start) -> None:
    parameters = ros_arguments(health__max_speed=50)
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__node:=fifty"])
    wait_until(lambda: "fifty" in probe.node.get_node_names(), "the node")
    assert program.end(signal.SIGINT) == 0


def test_failing_engine_ends_the_node_with_the_reason(
    own_node: Callable[..., OwnNode],
) -> None:
    node = own_node("/failing", fake='{"fail_after": 1}')
    program = node.program
    node.calibrate()
    node.show_until(lambda: program.process.poll() is not None, "the end of the node")
    assert program.end() == 1
    program.wait_for("sfm_node stopped: the engine 'fake' failed: the library is out of memory")
    assert "Traceback" not in program.output


def test_axes_of_the_camera_follow_rep_103() -> None:
    assert R_BODY_OPTICAL @ [0, 0, 1] == pytest.approx([1, 0, 0])  # depth is ahead
    assert R_BODY_OPTICAL @ [1, 0, 0] == pytest.approx([0, -1, 0])  # right is minus left
    assert R_BODY_OPTICAL @ [0, 1, 0] == pytest.approx([0, 0, -1])  # down is minus up


def test_images_are_not_lost_while_the_process_is_stopped(probe: Probe, start: Start) -> None:
    """A live node on a busy machine: it receives all of them, and processes the newest."""
    states = probe.listen("/stalled/sfm_node/status", DiagnosticStatus, LATCHED)
    parameters = ros_arguments(node__extrinsics_wait_s=0.0)
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/stalled"])

    stamps = itertools.count(PERIOD_NS, PERIOD_NS)

    def show() -> None:
        probe.publish("/stalled/image", image_message(STAND, next(stamps)))

    def received() -> int:
        values = {e.key: e.value for e in states[-1].values} if states else {}
        return int(values.get("received", 0))

    def has_received_one() -> int:  # those before they are connected do not count
        show()
        time.sleep(0.1)
        return received()

    def is_settled() -> bool:
        before, count = received(), len(states)
        wait_until(lambda: len(states) > count + 1, "two more statuses")
        return received() == before

    probe.publish("/stalled/camera_info", info_message())
    wait_until(has_received_one, "an image that arrives")
    wait_until(is_settled, "the count of those before")

    def receives_all_of_a_stall() -> bool:
        before = received()
        program.process.send_signal(signal.SIGSTOP)
        for _ in range(9):
            show()
        program.process.send_signal(signal.SIGCONT)
        wait_until(is_settled, "the count of those during the stall")
        return received() == before + 9

    # A short queue loses some every time; the transport of a busy machine may lose one now and
    # then.
    assert any(receives_all_of_a_stall() for _ in range(3))
