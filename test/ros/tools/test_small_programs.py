"""The programs around the node: static transform, ground-truth trajectory, recorder, player of KITTI drives."""

from __future__ import annotations

import itertools
import math
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rig.probe import PLAYER, Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.duration import Duration
from rclpy.qos import HistoryPolicy, QoSProfile
from rig.camera import PERIOD_NS, image_message
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.bags.reader import BagFile
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import pose_message, stamp_from_ns, stamp_to_ns
from sfm_ros.ros.tools import static_transform
from sfm_ros.ros.tools.ground_truth_path import nearest
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix

EVERYTHING = QoSProfile(history=HistoryPolicy.KEEP_ALL)
BEGIN_NS = 1_700_000_000_000_000_000


def program(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"sfm_ros.ros.{module}", *arguments]


# ---- static transform -------------------------------------------------------------------------


def test_a_camera_that_looks_ahead_sees_along_the_robots_x() -> None:
    T = extrinsics_matrix([1.0, 0.5, 1.5], [0.0, 0.0, 0.0], optical=True)
    assert T[:3, 3] == pytest.approx([1.0, 0.5, 1.5])
    assert T[:3, 2] == pytest.approx([1, 0, 0])  # forward
    assert T[:3, 0] == pytest.approx([0, -1, 0])  # the image's right is the robot's right
    assert T[:3, 1] == pytest.approx([0, 0, -1])


def test_angles_are_those_of_urdf() -> None:
    left = extrinsics_matrix([0, 0, 0], [0, 0, math.pi / 2], optical=True)
    assert left[:3, 2] == pytest.approx([0, 1, 0])
    down = extrinsics_matrix([0, 0, 0], [0, math.radians(30), 0], optical=True)
    assert down[:3, 2] == pytest.approx([math.cos(math.pi / 6), 0, -0.5])
    rolled = extrinsics_matrix([0, 0, 0], [math.pi / 2, 0, math.pi / 2], optical=False)
    assert rolled[:3, 2] == pytest.approx([1, 0, 0])  # yaw of what roll made of z


def test_the_transform_reaches_a_listener_that_comes_later(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    messages = compat.transform_message_class()
    if messages is None:
        pytest.skip("tf2_msgs is not installed")
    options = ["--parent", "base_link", "--child", "cam_optical", "--xyz", "1", "0", "1.5"]
    said = start(program("tools.static_transform", *options, "--optical"))
    wait_until(lambda: probe.node.count_publishers("/tf_static"), "a publisher of /tf_static")
    received = probe.listen("/tf_static", messages, compat.STATIC_TF_LISTENER_QOS)
    (transform,) = wait_until(lambda: received and received[0].transforms, "the transform")
    q = transform.transform.rotation
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "cam_optical")
    assert [q.x, q.y, q.z, q.w] == pytest.approx([-0.5, 0.5, -0.5, 0.5])
    assert said.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [("a", "a", "both 'a', expected two"), ("/a", "a", "both 'a'"), ("a", "/", "'/' names no")],
)
def test_frames_that_are_none_or_one_are_refused(
    parent: str,
    child: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(static_transform, "run", lambda *_: 0)
    with pytest.raises(SystemExit) as refused:
        static_transform.main(["--parent", parent, "--child", child])
    assert refused.value.code == 2 and expected in capsys.readouterr().err


def test_negative_numbers_may_be_written_in_any_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(static_transform, "StaticTransform", made.append)
    monkeypatch.setattr(static_transform, "run", lambda make, *_: make())
    monkeypatch.setattr(static_transform.compat, "transform_message_class", lambda: object)
    numbers = ["--xyz", "-1.", "-.5", "-1e-3", "--rpy", "0", "-0", "-0.0"]
    static_transform.main(["--parent", "/base", "--child", "-1", *numbers])
    moved = made[0].transform.translation
    assert [moved.x, moved.y, moved.z] == [-1.0, -0.5, -0.001]
    assert (made[0].header.frame_id, made[0].child_frame_id) == ("base", "-1")


# ---- ground-truth trajectory --------------------------------------------------------------------------------


def pose(index: int, T: np.ndarray, frame: str, child: str) -> Odometry:
    message = Odometry(child_frame_id=child)
    message.header.frame_id = frame
    message.header.stamp = stamp_from_ns(BEGIN_NS + index * PERIOD_NS)
    message.pose.pose = pose_message(T)
    return message


def test_the_ground_truth_is_laid_over_the_odometry_where_both_begin(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    """The ground truth drives north (+y) of a far place, the odometry along its own x."""
    drawing = start(program("tools.ground_truth_path"))
    paths = probe.listen("/sfm_ground_truth/path", PathMessage)
    north = so3_exp(np.array([0, 0, math.pi / 2]))

    def drive(first: int, count: int) -> None:
        for index in range(count):
            true = make_transform(north, [500.0, 300.0 + index, 0.0])
            probe.publish("/ground_truth", pose(first + index, true, "world", "car"))
            if index >= 2:
                estimate = make_transform(np.eye(3), [2.0 + 0.9 * (index - 2), 0.0, 0.0])
                probe.publish("/odometry", pose(first + index, estimate, "odom", "car"))

    def drawn() -> bool:
        drive(1000, 5)
        return bool(paths)

    wait_until(drawn, f"a path; it said:\n{drawing.said}")
    drive(0, 30)  # a bag that loops: it is laid over the odometry anew
    end = pose(30, make_transform(north, [500.0, 330.0, 0.0]), "world", "car")

    def last() -> PathMessage | None:
        probe.publish("/ground_truth", end)
        return next((p for p in paths if len(p.poses) > 30), None)

    path = wait_until(last, f"the whole path; it said:\n{drawing.said}")
    assert path.header.frame_id == "odom"
    points = [(p.pose.position.x, p.pose.position.y) for p in path.poses]
    # Laid together at the second image, or a later one where that message was overtaken.
    begin = points[0][0]
    assert any(begin == pytest.approx(-0.1 * late, abs=1e-6) for late in range(20))
    assert np.diff(points[:30], axis=0) == pytest.approx(np.tile([1.0, 0.0], (29, 1)), abs=1e-6)
    assert points[0][1] == pytest.approx(0.0, abs=1e-6)
    assert drawing.end(signal.SIGINT) == 0


class Counted(list):
    """Counts how often it is looked into; is not gone through from end to end."""

    looks = 0

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(index)

    def __iter__(self) -> None:  # type: ignore[override]
        raise AssertionError("looked at everything")


def test_the_nearest_pose_is_found_without_looking_at_all_of_them() -> None:
    stamps = np.cumsum(np.random.default_rng(0).integers(0, 5, 5000)).tolist()
    entries = Counted((stamp, np.eye(4)) for stamp in stamps)
    wanted = range(-3, stamps[-1] + 4, 97)
    for stamp in wanted:
        found = nearest(entries, stamp)
        assert found is not None
        assert abs(found[0] - stamp) == min(abs(s - stamp) for s in stamps)
    assert entries.looks < 20 * len(wanted)
    assert nearest([], 0) is None


# ---- recorder ---------------------------------------------------------------------------------


def test_what_is_recorded_is_what_was_sent(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "new"
    recording = start(
        program("tools.bag_recorder", "--out", str(bag), "--topics", "/eye/image", "/never")
    )
    sent = [image_message(10 * i, BEGIN_NS + i * PERIOD_NS) for i in range(20)]
    for message in sent:
        probe.publish("/eye/image", message)
    publisher = probe._publishers["/eye/image"]
    assert publisher.wait_for_all_acked(Duration(seconds=10))
    assert recording.end(signal.SIGINT) == 0
    assert "/eye/image (20)" in recording.said
    records = list(BagFile(bag).records(["/eye/image"]))
    assert [bytes(r.message.data) for r in records] == [bytes(m.data) for m in sent]
    assert BagFile(bag).all_topics.keys() == {"/eye/image"}
    again = start(program("tools.bag_recorder", "--out", str(bag), "--topics", "/x"))
    assert again.end() == 1 and "name a new folder" in again.said


def test_a_recorder_ends_although_the_camera_does_not(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "live"
    recording = start(program("tools.bag_recorder", "--out", str(bag), "--topics", "/live/image"))
    probe.publish("/live/image", image_message(0, BEGIN_NS))
    told, stamp_ns = False, BEGIN_NS

    def has_ended() -> bool:
        nonlocal told, stamp_ns
        stamp_ns += PERIOD_NS
        probe.publish("/live/image", image_message(0, stamp_ns))
        if not told:
            recording.process.send_signal(signal.SIGINT)
            told = True
        return recording.process.poll() is not None

    wait_until(has_ended, "the end of the recording")
    assert recording.end() == 0
    assert len(list(BagFile(bag).records(["/live/image"]))) > 1


def test_a_recorder_on_simulated_time_needs_no_clock(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "still"
    simulated = ["--ros-args", "-p", "use_sim_time:=true"]
    recording = start(
        program("tools.bag_recorder", "--out", str(bag), "--topics", "/still/image", *simulated)
    )
    probe.publish("/still/image", image_message(0, BEGIN_NS))
    assert probe._publishers["/still/image"].wait_for_all_acked(Duration(seconds=10))
    assert recording.end(signal.SIGINT) == 0
    assert "/still/image (1)" in recording.said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--topics", "/x", "cam-1/x"], "cannot record 'cam-1/x': .*topic name must not contain"),
        (["--topics", ""], "topic name must not be empty"),
        (["--topics", "/x", "--ros-args", "-p", "x"], "Couldn't parse parameter override"),
        (["--topics", "/x", "--ros-args", "-r", "__node:=a/b"], "Couldn't parse remap rule"),
    ],
    ids=["name", "empty name", "parameter", "remap"],
)
def test_a_recorder_refuses_before_there_is_a_folder(
    arguments: list[str],
    expected: str,
    start: Callable[[list[str]], Program],
    tmp_path: Path,
) -> None:
    refused = start(program("tools.bag_recorder", "--out", str(tmp_path / "bag"), *arguments))
    assert refused.end() == 1
    assert re.search(f"sfm_bag_recorder: .*{expected}", refused.said)
    assert "Traceback" not in refused.said and not (tmp_path / "bag").exists()


def test_a_recorder_says_that_it_may_not_write_there(
    start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "bag"
    refused = start(program("tools.bag_recorder", "--out", str(out), "--topics", "/x"))
    assert refused.end() == 1
    assert f"cannot write the bag {out}: Not a directory" in refused.said
    assert "Traceback" not in refused.said and "incomplete" not in refused.said


def recorder_on_a_bad_disk(preparation: str, bag: Path, topic: str) -> list[str]:
    code = f"import sys; {preparation}; from sfm_ros.ros.tools.bag_recorder import main; "
    arguments = ["--out", str(bag), "--topics", topic]
    return [sys.executable, "-c", f"{code}sys.exit(main({arguments!r}))"]


def publish_until_it_ends(probe: Probe, recording: Program, topic: str) -> None:
    """Images of 6 KB or more, one after the other."""
    stamps = itertools.count(BEGIN_NS, PERIOD_NS)

    def has_ended() -> bool:
        if recording.process.poll() is None:
            probe.publish(topic, image_message(0, next(stamps)))
        return recording.process.poll() is not None

    wait_until(has_ended, "the end of the recording")


def test_a_recorder_ends_in_time_where_the_disk_gets_full(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    """The disk is asked once for each MiB."""
    bag = tmp_path / "bag"
    free = "iter([10**9, 10**9, 50 * 2**20])"
    preparation = (
        "import shutil, types; "
        f"free = {free}; shutil.disk_usage = lambda path: types.SimpleNamespace(free=next(free))"
    )
    recording = start(recorder_on_a_bad_disk(preparation, bag, "/much/image"))
    publish_until_it_ends(probe, recording, "/much/image")
    assert recording.end() == 1 and "Traceback" not in recording.said
    assert "less than 64 MiB left; make room" in recording.said
    count = len(list(BagFile(bag).records(["/much/image"])))
    assert count > 1 and f"/much/image ({count})" in recording.said


def test_a_recorder_that_can_write_no_more_says_what_became_of_the_bag(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    preparation = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))"
    recording = start(recorder_on_a_bad_disk(preparation, bag, "/too/much"))
    publish_until_it_ends(probe, recording, "/too/much")
    assert recording.end() == 1 and "Traceback" not in recording.said
    assert f"cannot write the bag {bag}: File too large; it is incomplete" in recording.said


# ---- KITTI drives -----------------------------------------------------------------------------


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Five images of a KITTI odometry sequence with its calibration and poses."""
    folder = tmp_path / "03"
    (folder / "image_0").mkdir(parents=True)
    for index in range(5):
        image = np.full((20, 60), 40 * index, dtype=np.uint8)
        cv2.imwrite(str(folder / "image_0" / f"{index:06d}.png"), image)
    P = "50 0 30 0 0 50 10 0 0 0 1 0"
    (folder / "calib.txt").write_text("".join(f"P{i}: {P}\n" for i in range(4)))
    poses = [f"1 0 0 0 0 1 0 0 0 0 1 {index}" for index in range(5)]
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    return folder


def test_a_kitti_drive_is_played_as_it_lies_on_disk(
    probe: Probe, start: Callable[[list[str]], Program], sequence: Path
) -> None:
    images = probe.listen("/camera/image_raw", Image, EVERYTHING)
    infos = probe.listen("/camera/camera_info", CameraInfo, EVERYTHING)
    ground_truth = probe.listen("/ground_truth/odometry", Odometry, EVERYTHING)
    playing = start([*PLAYER, str(sequence), "--rate", "0", "--wait-for-subscribers", "3"])
    assert playing.end() == 0, playing.said
    wait_until(lambda: len(images) == len(infos) == len(ground_truth) == 5, "five of each")
    assert [int(m.data[0]) for m in images] == [0, 40, 80, 120, 160]
    assert infos[0].k[0] == 50.0 and (infos[0].width, infos[0].height) == (60, 20)
    assert [stamp_to_ns(m.header.stamp) for m in images] == [i * 10**8 for i in range(5)]
    assert ground_truth[4].pose.pose.position.x == pytest.approx(4.0)  # forward: the body's x


def test_topics_a_drive_does_not_have_are_refused(
    start: Callable[[list[str]], Program], sequence: Path
) -> None:
    refused = start([*PLAYER, str(sequence), "--topics", "/velodyne"])
    assert refused.end() == 1 and "it is played as /camera/camera_info" in refused.said
