"""sfm_bag_recorder as a process: what it records, when it ends and what it refuses."""

from __future__ import annotations

import itertools
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.probe import Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rclpy.duration import Duration
from rig.camera import PERIOD_NS, image_message
from rosgraph_msgs.msg import Clock as ClockMessage

from sfm_ros.bags.reader import BagFile
from sfm_ros.outputs.lock import LOCK
from sfm_ros.ros.conversions import stamp_from_ns

BEGIN_NS = 1_700_000_000_000_000_000


def record(out: Path, *topics: str) -> list[str]:
    command = [sys.executable, "-m", "sfm_ros.ros.tools.bag_recorder"]
    return [*command, "--out", str(out), "--topics", *topics]


def test_records_what_was_published(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "new"
    recorder = start(record(bag, "/eye/image", "/never"))
    sent = [image_message(10 * i, BEGIN_NS + i * PERIOD_NS) for i in range(20)]
    for message in sent:
        probe.publish("/eye/image", message)
    publisher = probe._publishers["/eye/image"]
    assert publisher.wait_for_all_acked(Duration(seconds=10))
    assert recorder.end(signal.SIGINT) == 0
    assert "/eye/image (20)" in recorder.output
    records = list(BagFile(bag).records(["/eye/image"]))
    assert [bytes(r.message.data) for r in records] == [bytes(m.data) for m in sent]
    assert BagFile(bag).all_topics.keys() == {"/eye/image"}
    again = start(record(bag, "/x"))
    assert again.end() == 1 and "name a new folder" in again.output


def test_ends_while_the_camera_publishes(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "live"
    recorder = start(record(bag, "/live/image"))
    stamps = itertools.count(BEGIN_NS, PERIOD_NS)
    for _ in range(2):
        probe.publish("/live/image", image_message(0, next(stamps)))
    recorder.process.send_signal(signal.SIGINT)

    def has_ended() -> bool:
        probe.publish("/live/image", image_message(0, next(stamps)))
        return recorder.process.poll() is not None

    wait_until(has_ended, "the end of the recording")
    assert recorder.end() == 0
    assert len(list(BagFile(bag).records(["/live/image"]))) > 1


def test_simulated_time_needs_no_clock(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "still"
    simulated = ["--ros-args", "-p", "use_sim_time:=true"]
    recorder = start([*record(bag, "/still/image"), *simulated])
    probe.publish("/still/image", image_message(0, BEGIN_NS))
    assert probe._publishers["/still/image"].wait_for_all_acked(Duration(seconds=10))
    assert recorder.end(signal.SIGINT) == 0
    assert "/still/image (1)" in recorder.output
    assert "no /clock was received" in recorder.output


def test_simulated_time_is_that_of_the_recording(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    """Also of a message that came before the clock."""
    bag, clock_ns = tmp_path / "replayed", 1_317_000_000_000_000_000
    simulated = ["--ros-args", "-p", "use_sim_time:=true"]
    recorder = start([*record(bag, "/replayed/image"), *simulated])
    probe.publish("/replayed/image", image_message(0, BEGIN_NS))
    assert probe._publishers["/replayed/image"].wait_for_all_acked(Duration(seconds=10))
    clock = probe.node.create_publisher(ClockMessage, "/clock", 1)
    wait_until(lambda: clock.get_subscription_count() > 0, "the recorder's clock")
    probe.publish("/replayed/image", image_message(0, BEGIN_NS + PERIOD_NS))
    recorder.process.send_signal(signal.SIGINT)

    def has_ended() -> bool:
        clock.publish(ClockMessage(clock=stamp_from_ns(clock_ns)))
        return recorder.process.poll() is not None

    wait_until(has_ended, "the end of the recording")
    assert recorder.end() == 0, recorder.output
    times = [record.log_ns for record in BagFile(bag).records(["/replayed/image"])]
    assert times == [clock_ns, clock_ns]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/x", "cam-1/x"], "cannot record 'cam-1/x': .*topic name must not contain"),
        ([""], "topic name must not be empty"),
        (["/x", "--ros-args", "-p", "x"], "Couldn't parse parameter override"),
        (["/x", "--ros-args", "-r", "__node:=a/b"], "Couldn't parse remap rule"),
    ],
    ids=["name", "empty name", "parameter", "remap"],
)
def test_refusal_creates_no_folder(
    arguments: list[str],
    expected: str,
    start: Callable[[list[str]], Program],
    tmp_path: Path,
) -> None:
    refused = start(record(tmp_path / "bag", *arguments))
    assert refused.end() == 1
    assert re.search(f"sfm_bag_recorder: .*{expected}", refused.output)
    assert "Traceback" not in refused.output and not (tmp_path / "bag").exists()


def test_bag_being_written_is_named(start: Callable[[list[str]], Program], tmp_path: Path) -> None:
    bag, lock = tmp_path / "bag", tmp_path / "bag" / LOCK
    first = start(record(bag, "/x"))
    first.wait_until(lambda: lock.exists() and lock.read_text(), "the lock of the first recorder")
    second = start(record(bag, "/x"))
    assert second.end() == 1
    assert f"(process {first.process.pid})" in second.output and "Traceback" not in second.output
    assert first.end(signal.SIGINT) == 0
    third = start(record(bag, "/x"))
    assert third.end() == 1 and "exists; name a new folder" in third.output


def test_killed_recording_is_named_and_kept(
    start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    first = start(record(bag, "/x"))
    first.wait_until(lambda: list(bag.glob("*.mcap")), "the file of the recording")
    first.process.kill()
    assert first.process.wait(60) < 0
    left = {path.name: path.read_bytes() for path in bag.glob("*.mcap")}
    second = start(record(bag, "/x"))
    assert second.end() == 1
    assert "a recording that did not reach its end; name a new folder" in second.output
    assert {path.name: path.read_bytes() for path in bag.glob("*.mcap")} == left


def test_unwritable_folder_is_named(start: Callable[[list[str]], Program], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "bag"
    refused = start(record(out, "/x"))
    assert refused.end() == 1
    assert f"cannot write the bag {out}: Not a directory" in refused.output
    assert "Traceback" not in refused.output and "incomplete" not in refused.output


def record_on_bad_disk(preparation: str, bag: Path, topic: str) -> list[str]:
    code = f"import sys; {preparation}; from sfm_ros.ros.tools.bag_recorder import main; "
    arguments = ["--out", str(bag), "--topics", topic]
    return [sys.executable, "-c", f"{code}sys.exit(main({arguments!r}))"]


def publish_until_end(probe: Probe, recorder: Program, topic: str) -> None:
    """Publish images of 6 KB or more until the recorder ends."""
    stamps = itertools.count(BEGIN_NS, PERIOD_NS)

    def has_ended() -> bool:
        if recorder.process.poll() is None:
            probe.publish(topic, image_message(0, next(stamps)))
        return recorder.process.poll() is not None

    wait_until(has_ended, "the end of the recording")


def test_ends_before_the_disk_is_full(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    """The free space is checked once per MiB."""
    bag = tmp_path / "bag"
    free = "iter([10**9, 10**9, 50 * 2**20])"
    preparation = (
        "import shutil, types; "
        f"free = {free}; shutil.disk_usage = lambda path: types.SimpleNamespace(free=next(free))"
    )
    recorder = start(record_on_bad_disk(preparation, bag, "/much/image"))
    publish_until_end(probe, recorder, "/much/image")
    assert recorder.end() == 1 and "Traceback" not in recorder.output
    assert "less than 64 MiB left; make room" in recorder.output
    count = len(list(BagFile(bag).records(["/much/image"])))
    assert count > 1 and f"/much/image ({count})" in recorder.output


def test_failed_write_is_reported_with_the_state_of_the_bag(
    probe: Probe, start: Callable[[list[str]], Program], tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    preparation = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))"
    recorder = start(record_on_bad_disk(preparation, bag, "/too/much"))
    publish_until_end(probe, recorder, "/too/much")
    assert recorder.end() == 1 and "Traceback" not in recorder.output
    assert f"cannot write the bag {bag}: File too large; it is incomplete" in recorder.output
