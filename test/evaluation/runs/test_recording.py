"""An online run on disk: the bag that is played, the processes, the recording."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from sfm_ros.bags.camera import DepthFolder, inspect_bag
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC, write_bag
from sfm_ros.datatypes import CameraIntrinsics, Frame, ScaleSource
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.online_result import result_of
from sfm_ros.evaluation.runs.processes import ProcessError, ProcessGroup
from sfm_ros.evaluation.runs.recording import (
    DepthRecord,
    Recording,
    RecordingWriter,
    count_received,
)
from sfm_ros.evaluation.runs.result import ONLINE, Percentiles
from sfm_ros.geometry import make_transform, optical_to_body, quat_xyzw_from_matrix, so3_exp
from sfm_ros.source import SourceItem

DISTORTION = (0.1, 0.1, 0.1, 0.1, 0.1)
CAMERA = CameraIntrinsics(
    width=7, height=4, fx=5.0, fy=6.0, cx=3.25, cy=1.5, distortion=DISTORTION
)


class ThreeFrames:
    """Random images with poses; the second pose and the third depth are not known."""

    name = "three frames"

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.images = rng.integers(0, 256, (3, 4, 7, 3), np.uint8)
        self.pose = make_transform(so3_exp([0.1, -0.7, 0.2]), [1.0, 2.0, 3.0])
        self.stamps = [1_700_000_000_123_456_789 + i * 100_000_000 for i in range(3)]
        self.depth = np.full((4, 7), 2.5, np.float32)

    def __len__(self) -> int:
        return 3

    def __iter__(self):  # type: ignore[no-untyped-def]
        for index, stamp in enumerate(self.stamps):
            yield SourceItem(
                frame=Frame(stamp_ns=stamp, rgb=self.images[index], intrinsics=CAMERA),
                T_world_camera=None if index == 1 else self.pose,
                depth_m=None if index == 2 else self.depth,
            )


def read(bag: Path) -> dict[str, list]:
    messages: dict[str, list] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        for connection, stamp_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            messages.setdefault(connection.topic, []).append((stamp_ns, message))
    return messages


def test_bag_holds_the_frames_of_the_source(tmp_path: Path) -> None:
    source = ThreeFrames()
    bag = write_bag(source, tmp_path / "bag", tmp_path / "ground_truth")
    topics = read(tmp_path / "bag")
    for (stamp_ns, message), expected, image in zip(
        topics[IMAGE_TOPIC], source.stamps, source.images, strict=True
    ):
        header = message.header.stamp
        assert stamp_ns == expected == header.sec * 10**9 + header.nanosec
        assert (message.encoding, message.step) == ("bgr8", 21)
        assert np.array_equal(message.data.reshape(4, 7, 3)[:, :, ::-1], image)
    info = topics[CAMERA_INFO_TOPIC][0][1]
    assert np.array_equal(info.k.reshape(3, 3), CAMERA.K) and info.d.tolist() == [0.1] * 5
    assert (info.width, info.height, info.distortion_model) == (7, 4, "plumb_bob")

    assert bag.frames == 3 and bag.depth is not None and bag.depth.camera == CAMERA
    depth = bag.depth.at(source.stamps[0])
    assert depth is not None and np.array_equal(depth, source.depth)
    assert bag.depth.at(source.stamps[2]) is None


def test_ground_truth_poses_are_in_body_axes(tmp_path: Path) -> None:
    source = ThreeFrames()
    write_bag(source, tmp_path / "bag", tmp_path / "ground_truth")
    messages = read(tmp_path / "bag")[GROUND_TRUTH_TOPIC]
    stamps = [stamp_ns for stamp_ns, _ in messages]
    assert stamps == [source.stamps[0], source.stamps[2]]
    position = messages[0][1].pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx((3.0, -1.0, -2.0))
    q = messages[0][1].pose.pose.orientation
    expected = quat_xyzw_from_matrix(optical_to_body(source.pose)[:3, :3])
    assert abs(np.dot([q.x, q.y, q.z, q.w], expected)) == pytest.approx(1.0)


def test_limit_and_empty_source(tmp_path: Path) -> None:
    bag = write_bag(ThreeFrames(), tmp_path / "two", tmp_path / "ground_truth", limit=2)
    assert bag.frames == 2 and len(read(tmp_path / "two")[IMAGE_TOPIC]) == 2
    with pytest.raises(SourceError, match="no frame"):
        write_bag(ThreeFrames(), tmp_path / "none", tmp_path / "ground_truth", limit=0)


def test_camera_in_a_bag_is_found(tmp_path: Path) -> None:
    write_bag(ThreeFrames(), tmp_path / "bag", tmp_path / "ground_truth")
    found = inspect_bag(tmp_path / "bag", None, None)
    assert (found.image_topic, found.camera_info_topic) == (IMAGE_TOPIC, CAMERA_INFO_TOPIC)
    assert (found.frames, found.compressed) == (3, False)
    with pytest.raises(SourceError, match=f"on /other, found no such topic.*{IMAGE_TOPIC}"):
        inspect_bag(tmp_path / "bag", "/other", None)
    with pytest.raises(SourceError, match="is no bag"):
        inspect_bag(tmp_path / "ground_truth", None, None)


def test_recording_with_incomplete_line_is_read(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path)
    writer.image(10, 1_000_000)
    writer.image(20, 2_000_000)
    writer.odometry(20, 5_500_000, (1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0))
    K = np.diag([4.0, 5.0, 1.0])
    writer.depth(20, DepthRecord(depth=np.full((2, 3), np.nan, np.float32), K=K))
    writer.pixels(20, np.zeros((2, 3, 3), np.uint8))
    writer.diagnostics({"engine": "onnx"})
    writer.close()
    with (tmp_path / "odometry.csv").open("a") as file:
        file.write("30,6000000,1.0,2.0,3.0,0.0,0.0,0.0,0.")

    recording = Recording.load(tmp_path)
    assert recording.image_stamps_ns.tolist() == [10, 20]
    assert recording.stamps_ns.tolist() == [20]
    assert recording.latencies_ms().tolist() == [3.5]
    # Body x 1, y 2, z 3 is optical z 1, x -2, y -3.
    assert recording.T_odom_camera[0, :3, 3] == pytest.approx([-2.0, -3.0, 1.0])
    assert recording.depth_stamps_ns() == [20]
    assert np.array_equal(recording.depth(20).K, K)
    assert recording.image(20) is not None and recording.image(10) is None
    assert recording.diagnostics == {"engine": "onnx"}
    assert count_received(tmp_path) == (2, 1) and count_received(tmp_path / "absent") == (0, 0)


def test_empty_recording_is_read(tmp_path: Path) -> None:
    recording = Recording.load(tmp_path)
    assert len(recording.image_stamps_ns) == 0 and recording.T_odom_camera.shape == (0, 4, 4)
    assert recording.latencies_ms().size == 0 and recording.depth_stamps_ns() == []


def test_result_of_a_recording(tmp_path: Path) -> None:
    """Four images, the first two without odometry; the ground truth is twice the depth."""
    writer = RecordingWriter(tmp_path / "recording")
    for index in range(4):
        writer.image(index, 10_000_000 * index)
    for index in (2, 3, 3):
        pose = (0.5 * index, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        writer.odometry(index, 10_000_000 * index + 4_000_000, pose)
    depth = np.full((4, 7), 5.0, np.float32)
    for index in (2, 3):
        writer.depth(index, DepthRecord(depth=depth, K=CAMERA.K))
    writer.pixels(2, np.zeros((250, 500, 3), np.uint8))
    latency = {"latency_engine_p50_ms": "3", "latency_engine_p99_ms": "5"}
    sums = {"latency_total_p50_ms": "4", "latency_total_p99_ms": "6"}
    facts = {
        "engine": "onnx",
        "engine_precision": "fp32",
        "rejected": "1",
        "last_trouble": "",
        "scale_source": "external",
    }
    writer.diagnostics({**facts, **latency, **sums})
    writer.close()
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth" / "2.npy", 2 * depth)

    folder = DepthFolder(folder=tmp_path / "depth", camera=replace(CAMERA, distortion=()))
    result = result_of(Recording.load(tmp_path / "recording"), 4, 2, folder)
    assert (result.mode, result.frames_lost, result.rejected) == (ONLINE, 0, 1)
    assert result.estimate is not None and result.estimate.stamps_ns.tolist() == [2, 3]
    assert [(i.status, i.frames) for i in result.intervals] == [
        ("initializing", 2),
        ("tracking", 2),
    ]
    assert result.latency is not None and result.latency.p50 == pytest.approx(4.0)
    assert result.stages == {"inference": Percentiles(p50=3.0, p99=5.0)}
    assert (result.engine, result.trouble) == ("onnx fp32", None)
    assert result.scale_source is ScaleSource.EXTERNAL
    scored, plain = result.snapshots
    assert scored.scaled is not None and scored.scaled.scale == pytest.approx(2.0)
    assert scored.unscaled is not None and scored.unscaled.abs_rel == pytest.approx(0.5)
    assert scored.rgb is not None and scored.rgb.shape == (240, 480, 3)
    assert plain.scaled is None and plain.rgb is None


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(condition, what: str) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)


def test_failed_child_is_named_with_its_log(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path) as children:
        children.start("good", python("pass"))
        children.start("bad", python("print('the disk is full'); raise SystemExit(3)"))
        wait_for(lambda: not children.running("bad") and not children.running("good"), "the end")
        children.check("good")
        with pytest.raises(ProcessError, match="the bad ended with status 3:\n.*disk is full"):
            children.check("good", "bad")


def test_child_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('ready'); time.sleep(60)"
    )
    children = ProcessGroup(tmp_path)
    children.start("stubborn", python(stubborn))
    wait_for(lambda: "ready" in children.log_tail("stubborn"), "the child")
    children.stop("stubborn", patience_s=0.2)
    assert not children.running("stubborn")
    with pytest.raises(ProcessError, match=f"status -{signal.SIGKILL.value}"):
        children.check("stubborn")


def test_children_are_stopped_after_an_error(tmp_path: Path) -> None:
    children = ProcessGroup(tmp_path)
    with pytest.raises(KeyboardInterrupt), children:
        children.start("sleeper", python("import time; time.sleep(60)"))
        raise KeyboardInterrupt
    assert not children.running("sleeper")
