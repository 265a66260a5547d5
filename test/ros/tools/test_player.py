"""sfm_bag_player as a process, on bags it must play and on bags it must refuse."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.probe import FAKE_NODE, PLAYER, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from sfm_ros.errors import SourceError
from sfm_ros.ros.conversions import stamp_from_ns, stamp_to_ns
from sfm_ros.ros.tools.bag_tracks import PlayableBag

COUNT = 20
BEGIN_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)
STORE1 = get_typestore(Stores.ROS1_NOETIC)
KEEP_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)


def stamps() -> list[int]:
    return [BEGIN_NS + i * PERIOD_NS for i in range(COUNT)]


def messages() -> list[tuple[str, int, bytes, str]]:
    """(topic, time, CDR, type) of a camera, 20 images at 10 Hz."""
    rows = []
    for stamp in stamps():
        info = info_message()
        info.header.stamp = stamp_from_ns(stamp)
        rows.append(("/cam/info", stamp, serialize_message(info), "sensor_msgs/msg/CameraInfo"))
        image = serialize_message(image_message(FORWARD, stamp))
        rows.append(("/cam/image", stamp, image, "sensor_msgs/msg/Image"))
    return rows


def write_ros2(path: Path, plugin: StoragePlugin = StoragePlugin.SQLITE3) -> Path:
    with Writer2(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, time_ns, cdr, kind in messages():
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time_ns, cdr)
    return path


def write_ros1(path: Path) -> Path:
    with Writer1(path) as writer:
        connections = {}
        for topic, time_ns, cdr, kind in messages():
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE1)
            writer.write(connections[topic], time_ns, bytes(STORE.cdr_to_ros1(cdr, kind)))
    return path


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bags")
    return {
        "sqlite3": write_ros2(folder / "sqlite3"),
        "mcap": write_ros2(folder / "mcap", StoragePlugin.MCAP),
        "ros1": write_ros1(folder / "ros1.bag"),
    }


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "ros1"])
def test_remapped_messages_arrive_in_order(
    kind: str, bags: dict[str, Path], probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    images = probe.listen(f"/{kind}/image", Image, KEEP_ALL)
    infos = probe.listen(f"/{kind}/info", CameraInfo, KEEP_ALL)
    remap = [
        "--ros-args", "-r", f"/cam/image:=/{kind}/image", "-r", f"/cam/info:=/{kind}/info",
    ]  # fmt: skip
    options = ["--rate", "0", "--wait-for-subscribers", "2"]
    program = start([*PLAYER, str(bags[kind]), *options, *remap])
    assert program.end() == 0, program.output
    wait_until(lambda: len(images) == len(infos) == COUNT, f"{COUNT} images and calibrations")
    assert [stamp_to_ns(m.header.stamp) for m in images] == stamps()
    assert bytes(images[3].data) == bytes(image_message(FORWARD, stamps()[3]).data)
    assert infos[0].k[0] == pytest.approx(80.0)
    assert f"the bag is over: played {2 * COUNT} messages" in program.output


def test_clock_follows_the_bag(
    bags: dict[str, Path], probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    clocks = probe.listen("/clock", Clock)
    options = ["--rate", "10", "--clock", "--wait-for-subscribers", "1"]
    program = start([*PLAYER, str(bags["mcap"]), *options])
    assert program.end() == 0, program.output
    wait_until(lambda: clocks and stamp_to_ns(clocks[-1].clock) == stamps()[-1], "the last tick")
    times = [stamp_to_ns(message.clock) for message in clocks]
    assert times == sorted(times)
    assert len(times) > COUNT


def test_evaluated_node_loses_no_frame_at_rate_0(
    bags: dict[str, Path], probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    odometry = probe.listen("/sfm_node/odometry", Odometry, KEEP_ALL)
    diagnostics = probe.listen("/diagnostics", DiagnosticArray)
    remap = ["-r", "image:=/cam/image", "-r", "camera_info:=/cam/info"]
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    start([*FAKE_NODE, "{}", *parameters, *remap])
    wait_until(lambda: diagnostics, "the node")
    program = start([*PLAYER, str(bags["sqlite3"]), "--rate", "0", "--wait-for-subscribers", "2"])
    assert program.end() == 0, program.output

    def counts() -> dict[str, str]:
        return {v.key: v.value for v in diagnostics[-1].status[0].values} if diagnostics else {}

    wait_until(lambda: counts().get("processed") == str(COUNT), f"{COUNT} frames, not {counts()}")
    assert counts()["replaced"] == counts()["rejected"] == "0"
    wait_until(lambda: len(odometry) == COUNT - 2, "an odometry for each full window")
    assert odometry[-1].pose.pose.position.x == pytest.approx(0.5 * (COUNT - 1))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{folder}/nowhere"], "there is no bag .*nowhere"),
        (["{folder}/empty"], "is empty: it holds no messages"),
        (["{folder}/cut"], "cannot open the bag|cannot read on"),
        (["{folder}/cut.bag"], "cannot open the bag"),
        (["{folder}/notes.txt"], "is no bag: expected"),
        (["{good}", "--topics", "/cam/depth"], r"no topic /cam/depth; it has:\n  /cam/image .*20"),
        (
            ["{good}", "--wait-for-subscribers", "2", "--wait-timeout", "0.1"],
            "too few subscribers on /cam/image, /cam/info",
        ),
        (
            ["{good}", "--wait-for", "/node", "/cam/image", "--wait-timeout", "0.1"],
            "after 0.1 s still waiting for /node to subscribe to /cam/image",
        ),
        (["{good}", "--rate", "-1"], "expected a number from 0 up"),
    ],
    ids=[
        "missing",
        "empty",
        "cut mcap",
        "cut ros1",
        "no bag",
        "topic",
        "no subscriber",
        "no node",
        "rate",
    ],
)
def test_refusal_names_the_reason(
    arguments: list[str],
    expected: str,
    bags: dict[str, Path],
    tmp_path: Path,
    start: Callable[[list[str]], Program],
) -> None:
    with Writer2(tmp_path / "empty", version=9):
        pass
    shutil.copytree(bags["mcap"], tmp_path / "cut")
    for file in (tmp_path / "cut").glob("*.mcap"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "cut.bag").write_bytes(bags["ros1"].read_bytes()[:5000])
    (tmp_path / "notes.txt").write_text("not a bag")
    filled = [a.format(folder=tmp_path, good=bags["sqlite3"]) for a in arguments]
    program = start([*PLAYER, *filled])
    assert program.end() in (1, 2)
    program.wait_for(expected)
    assert "Traceback" not in program.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_loop(
    number: signal.Signals, bags: dict[str, Path], start: Callable[[list[str]], Program]
) -> None:
    program = start([*PLAYER, str(bags["mcap"]), "--loop"])
    program.wait_for("playing")
    assert program.end(number) == 0, program.output
    assert "Traceback" not in program.output


def test_bag_is_held_until_the_named_node_subscribes(
    bags: dict[str, Path], probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    """Subscribers of another name, on as many topics as one likes, do not let it begin."""
    received = probe.listen("/held/cam/image", Image, KEEP_ALL)
    probe.listen("/held/cam/info", CameraInfo, KEEP_ALL)
    probe.listen("/held/clock", Clock)
    awaited = ["--wait-for", "/late", "/held/cam/image", "--wait-timeout", "inf"]
    program = start([*PLAYER, str(bags["mcap"]), *awaited, "--prefix", "/held", "--clock"])
    program.wait_for("waiting for /late to subscribe to /held/cam/image")
    wait_until(lambda: probe.node.count_publishers("/held/cam/image"), "the player")
    assert "playing" not in program.output and not received
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=probe.domain)
    late = rclpy.create_node("late", context=context)
    late.create_subscription(Image, "/held/cam/image", lambda _: None, KEEP_ALL)
    assert program.end() == 0, program.output
    late.destroy_node()
    context.try_shutdown()
    wait_until(lambda: len(received) == COUNT, "all images")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_with_how_far_it_came(
    number: signal.Signals, bags: dict[str, Path], probe: Probe,
    start: Callable[[list[str]], Program],
) -> None:  # fmt: skip
    space = f"/stopped_by_{number.name}"
    topics = {f"{space}/cam/image": Image, f"{space}/cam/info": CameraInfo}
    received = [probe.listen(topic, kind, KEEP_ALL) for topic, kind in topics.items()]
    me = probe.node.get_fully_qualified_name()
    awaited = [word for topic in topics for word in ("--wait-for", me, topic)]
    program = start([*PLAYER, str(bags["mcap"]), "--rate", "0.01", "--prefix", space, *awaited])
    wait_until(lambda: all(map(len, received)), "the first image and its calibration")
    assert program.end(number) == 0, program.output
    assert f"stopped after 1 of {COUNT} images, 2 of {2 * COUNT} messages" in program.output
    assert "the bag is over" not in program.output


# ---- parts of a bag that ROS 2 cannot represent -----------------------------------------------


def write_strings(path: Path, topics: list[str], count: int = 3, **others: object) -> Path:
    """A ROS 1 bag of a string on each topic every 0.1 s, and of other messages of ROS 1."""
    text = STORE1.types["std_msgs/msg/String"]("word")
    rows = [(topic, text) for topic in topics] + [(f"/{k}", m) for k, m in others.items()]
    with Writer1(path) as writer:
        for topic, message in rows:
            kind = message.__msgtype__
            connection = writer.add_connection(topic, kind, typestore=STORE1)
            for index in range(count):
                raw = STORE1.serialize_ros1(message, kind)
                writer.write(connection, BEGIN_NS + index * PERIOD_NS, raw)
    return path


def distance() -> object:
    """A sonar's message, which has one more field in ROS 2."""
    header = STORE1.types["std_msgs/msg/Header"](
        seq=0, stamp=STORE1.types["builtin_interfaces/msg/Time"](sec=5, nanosec=0), frame_id="f"
    )
    return STORE1.types["sensor_msgs/msg/Range"](
        header, radiation_type=0, field_of_view=0.1, min_range=0.1, max_range=5.0, range=1.0
    )


def test_topic_with_invalid_name_is_skipped(tmp_path: Path) -> None:
    lines: list[str] = []
    path = write_strings(tmp_path / "a.bag", ["/cam/0/image", "/s-1", "/fine", "bare"])
    bag = PlayableBag(path, log=lines.append)
    assert [track.topic for track in bag.tracks] == ["/fine", "bare"]
    assert lines == [
        "skipping /cam/0/image: not a valid name, topic name must not have a token that starts "
        "with a number",
        "skipping /s-1: not a valid name, topic name must not contain characters other than "
        "alphanumerics, '_', or '/'",
    ]
    assert {topic for topic, _, _ in bag.messages()} == {"/fine", "bare"}


def test_requested_topic_with_invalid_name_is_refused(tmp_path: Path) -> None:
    path = write_strings(tmp_path / "a.bag", ["/s-1", "/fine"])
    with pytest.raises(SourceError, match="/s-1 cannot be played: not a valid name"):
        PlayableBag(path, ["/fine", "/s-1"])
    with pytest.raises(SourceError, match=r"no topic in it has both.*\n  /s-1"):
        PlayableBag(write_strings(tmp_path / "b.bag", ["/s-1"]), log=lambda line: None)


def test_program_plays_the_valid_topics(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    strings = probe.listen("/fine", String, KEEP_ALL)
    path = write_strings(tmp_path / "a.bag", ["/cam/0/image", "/fine"], sonar=distance())
    program = start([*PLAYER, str(path), "--rate", "0", "--wait-for-subscribers", "1"])
    assert program.end() == 0, program.output
    wait_until(lambda: len(strings) == 3, "three strings")
    assert "skipping /cam/0/image" in program.output and "skipping /sonar" in program.output


def test_messages_with_another_definition_are_skipped(tmp_path: Path) -> None:
    lines: list[str] = []
    path = write_strings(tmp_path / "a.bag", ["/fine"], sonar=distance())
    bag = PlayableBag(path, log=lines.append)
    for _ in range(2):  # logged once, however often it is played
        assert [topic for topic, _, _ in bag.messages()] == ["/fine"] * 3
    assert lines == [
        "skipping /sonar: its messages do not fit ROS 2's definition of sensor_msgs/msg/Range"
    ]


def test_bag_without_valid_messages_is_refused(tmp_path: Path) -> None:
    bag = PlayableBag(write_strings(tmp_path / "a.bag", [], sonar=distance()))
    with pytest.raises(SourceError, match="/sonar cannot be played: .*nothing else is left"):
        list(bag.messages())


# ---- loops ------------------------------------------------------------------------------------


def sent_times(probe: Probe, topic: str, qos: QoSProfile) -> list[float]:
    """The times in s, on the player's side, at which messages were published; the list grows."""
    times: list[float] = []

    def on_string(_: String, info: dict[str, Any]) -> None:
        times.append(info["source_timestamp"] * 1e-9)

    probe.node.create_subscription(String, topic, on_string, qos)
    return times


def test_loop_of_one_message_does_not_flood(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    """Ten passes per second at most; a busy machine may delay the first message."""
    # A subscriber that acknowledges would slow the player down.
    best_effort = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    times = sent_times(probe, "/one", best_effort)
    path = write_strings(tmp_path / "a.bag", ["/one"], count=1)
    program = start([*PLAYER, str(path), "--loop"])
    wait_until(lambda: len(times) >= 20, "twenty passes")
    assert len(times) - 1 <= 12 * (times[-1] - times[0]) + 3
    assert program.end(signal.SIGINT) == 0


def test_loop_does_not_wait_for_acknowledgements(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    """Fast DDS requests them only every 3 s if the history is not full."""
    times = sent_times(probe, "/again", KEEP_ALL)
    path = write_strings(tmp_path / "a.bag", ["/again"])
    program = start([*PLAYER, str(path), "--loop", "--wait-for-subscribers", "1"])
    wait_until(lambda: len(times) >= 12, "four passes")
    assert max(b - a for a, b in zip(times, times[1:], strict=False)) < 2.0
    assert program.end(signal.SIGINT) == 0
