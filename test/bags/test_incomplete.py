"""What of a recording cannot be read is left out, counted and reported; the rest is read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from bag_recorder import START, Recorder
from bundles import tilted_wall
from rosbags import rosbag1, rosbag2
from small_bags import SmallSequence, pose

pytest.importorskip("mcap", reason="mcap is not installed (requirements/dev.txt)")

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.writer import write_bag
from sfm_ros.cli.evaluate import main
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.doctor.bag import check_content, read_bag
from sfm_ros.doctor.finding import Level
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.video import VideoSource

COUNT = 12
IMAGES, INFOS = "/cam/image_raw", "/cam/camera_info"
INDEX_LEAF, TABLE_LEAF = 0x0A, 0x0D
"""First byte of a page of SQLite."""


def record(recorder: Recorder, first: int = 0, last: int = COUNT) -> Path:
    """A bag of 8x6 images; the value of the first pixel is the number of the image."""
    for index in range(first, last):
        at = START + index * 100_000_000
        recorder.info(INFOS, at, k=[10, 0, 3.5, 0, 11, 2.5, 0, 0, 1])
        pixels = np.random.default_rng(index).integers(0, 256, (6, 8), np.uint8)
        pixels[0, 0] = index
        recorder.image(IMAGES, pixels, "mono8", at)
    return recorder.done()


def numbers(source: BagSource) -> list[int]:
    return [int(item.frame.rgb[0, 0, 0]) for item in source]


def storage_file(bag: Path) -> Path:
    (file,) = (each for each in bag.iterdir() if each.suffix in (".mcap", ".db3"))
    return file


def assert_reported(bag: Path, found: list[int], listed: int) -> None:
    """The source, the evaluation and the doctor agree on what is left out."""
    given = open_input(InputOptions(kind="bag", path=bag))
    assert isinstance(given.source, BagSource)
    assert numbers(given.source) == found and len(given.source) == listed
    assert given.unreadable == listed - len(found) > 0
    text = f"{listed - len(found)} of {listed} images are listed and cannot be found"
    assert text in " ".join(given.remarks)
    findings = check_content(read_bag(bag))
    assert any(each.level is Level.WARN and f"of {listed}" in each.found for each in findings)


# ---- SQLite ----------------------------------------------------------------------------------


def leave_behind(bag: Path, mode: str, first: int, record_rest: Path) -> None:
    """Append the messages of another bag, and copy the files while they are being written."""
    (bag / "metadata.yaml").unlink()
    file = storage_file(bag)
    live = bag.parent / "live.db3"
    shutil.copyfile(file, live)
    with sqlite3.connect(live) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA cache_size=1")
        rest = sqlite3.connect(storage_file(record_rest))
        rows = rest.execute(
            "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
        ).fetchall()
        insert = "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)"
        connection.executemany(insert, rows)
        if mode == "WAL":
            connection.commit()
        for suffix in ("", "-wal", "-journal"):
            if (part := live.with_name(f"live.db3{suffix}")).is_file():
                shutil.copyfile(part, file.with_name(f"{file.name}{suffix}"))
        rest.close()
        connection.rollback()
    connection.close()


@pytest.fixture
def killed(new_bag: Callable[..., Recorder]) -> Callable[[str], Path]:
    """A bag whose recorder was killed after ``mode`` was in use."""

    def make(mode: str) -> Path:
        bag = record(new_bag("sqlite3", "killed"), last=4)
        leave_behind(bag, mode, 4, record(new_bag("sqlite3", "rest"), first=4))
        return bag

    return make


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in sorted(folder.iterdir())}


def test_messages_in_a_wal_are_read(killed: Callable[[str], Path]) -> None:
    bag = killed("WAL")
    before = snapshot(bag)
    assert len(before) == 2, "there is no -wal file"
    given = open_input(InputOptions(kind="bag", path=bag))
    assert isinstance(given.source, BagSource)
    assert numbers(given.source) == list(range(COUNT)) and given.unreadable == 0
    assert "-wal is read, through a copy" in given.remarks[0]
    assert snapshot(bag) == before


def test_half_a_transaction_is_rolled_back(killed: Callable[[str], Path]) -> None:
    bag = killed("DELETE")
    before = snapshot(bag)
    assert [name[-8:] for name in before] == ["lled.db3", "-journal"]
    assert numbers(BagSource(bag)) == list(range(4))
    assert snapshot(bag) == before


def test_a_wal_without_room_for_a_copy_is_refused_with_the_remedy(
    killed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bag = killed("WAL").rename(tmp_path / "a b")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(SourceError) as refused:
        BagSource(bag)
    command = f"sqlite3 '{storage_file(bag)}' 'PRAGMA wal_checkpoint(TRUNCATE)'"
    assert command in str(refused.value)


def test_a_wal_that_leaves_the_folder_is_refused(
    killed: Callable[[str], Path], tmp_path: Path
) -> None:
    bag = killed("WAL")
    (wal,) = bag.glob("*-wal")
    wal.rename(tmp_path / "elsewhere")
    wal.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is a link that leaves the folder"):
        BagSource(bag)


def test_fewer_messages_than_the_recorder_counted(new_bag: Callable[..., Recorder]) -> None:
    bag = record(new_bag("sqlite3"))
    with sqlite3.connect(storage_file(bag)) as connection:
        connection.execute("DELETE FROM messages WHERE id > 18")
    connection.close()
    assert_reported(bag, list(range(9)), COUNT)


def small_pages(bag: Path) -> list[bytes]:
    """Rewrite a db3 file with pages of 512 bytes, so that tables and indices take many."""
    file = storage_file(bag)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA page_size=512")
        connection.execute("VACUUM")
    data = file.read_bytes()
    return [data[at : at + 512] for at in range(0, len(data), 512)]


def overwrite_page(bag: Path, pages: list[bytes], number: int) -> None:
    storage_file(bag).write_bytes(b"".join([*pages[:number], b"\xff" * 512, *pages[number + 1 :]]))


def test_behind_a_damaged_page_of_the_times_nothing_is_read(
    new_bag: Callable[..., Recorder],
) -> None:
    """Messages are listed by their table, and read in the order of the index of their times."""
    bag = record(new_bag("sqlite3"), last=60)
    pages = small_pages(bag)
    leaves = [number for number, page in enumerate(pages) if page[0] == INDEX_LEAF]
    assert len(leaves) >= 3
    overwrite_page(bag, pages, leaves[-2])
    found = numbers(BagSource(bag))
    assert 0 < len(found) < 60 and found == list(range(len(found)))
    assert_reported(bag, found, 60)
    (remark,) = [text for text in read_bag(bag).remarks if "the rest cannot be read" in text]
    assert "malformed" in remark


def test_a_damaged_page_of_the_messages_is_refused_with_the_tool(
    new_bag: Callable[..., Recorder],
) -> None:
    bag = record(new_bag("sqlite3"), last=60)
    pages = small_pages(bag)
    leaves = [number for number, page in enumerate(pages) if page[0] == TABLE_LEAF]
    overwrite_page(bag, pages, leaves[len(leaves) // 2])
    with pytest.raises(SourceError, match=r"malformed; it is damaged, .*sqlite3 .* \.recover"):
        BagSource(bag)


# ---- chunks ----------------------------------------------------------------------------------


def chunked(bag: Path, compression: CompressionType) -> list[tuple[int, int]]:
    """Rewrite an mcap file with a chunk for every few messages; returns where they are."""
    file = storage_file(bag)
    with file.open("rb") as old:
        entries = list(make_reader(old).iter_messages())
    with file.open("wb") as new:
        writer = Writer(new, chunk_size=600, compression=compression)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        for schema, channel, message in entries:
            if channel.topic not in channels:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", kind)
            log_ns = message.log_time
            writer.add_message(channels[channel.topic], log_ns, message.data, log_ns)
        writer.finish()
    with file.open("rb") as stream:
        summary = make_reader(stream).get_summary()
        assert summary is not None
        return [(c.chunk_start_offset, c.chunk_length) for c in summary.chunk_indexes]


def damage(file: Path, at: int, size: int) -> None:
    """Overwrite the second half of a part of a file."""
    data = bytearray(file.read_bytes())
    half = slice(at + size // 2, at + size)
    data[half] = bytes(byte ^ 0x5A for byte in data[half])
    file.write_bytes(data)


@pytest.mark.parametrize("compression", list(CompressionType))
def test_a_damaged_chunk_of_mcap_is_left_out(
    compression: CompressionType,
    new_bag: Callable[..., Recorder],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bag = record(new_bag("mcap"))
    chunks = chunked(bag, compression)
    assert len(chunks) >= 4
    damage(storage_file(bag), *chunks[2])
    found = numbers(BagSource(bag))
    assert 0 < len(found) < COUNT and {0, COUNT - 1} <= set(found)
    assert_reported(bag, found, COUNT)
    assert f"the chunk at byte {chunks[2][0]} cannot be read" in caplog.text
    file = BagFile(bag)
    for _ in range(2):
        assert len(list(file.serialized([IMAGES]))) == len(found)
    (remark,) = file.remarks  # once
    assert f"the chunk at byte {chunks[2][0]} cannot be read" in remark


@pytest.mark.parametrize("compression", [None, *rosbag1.Writer.CompressionFormat])
def test_a_damaged_chunk_of_ros1_is_left_out(compression: Any, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "bag", "ros1")
    recorder._writer.close()
    recorder.path.unlink()
    recorder._writer = rosbag1.Writer(recorder.path)
    if compression is not None:
        recorder._writer.set_compression(compression)
    recorder._writer.chunk_threshold = 600
    recorder._writer.open()
    bag = record(recorder)
    with rosbag1.Reader(bag) as reader:
        chunks = [(chunk.datapos, chunk.datasize) for chunk in reader.chunks.values()]
    assert len(chunks) >= 4
    damage(bag, *chunks[2])
    found = numbers(BagSource(bag))
    assert 0 < len(found) < COUNT and {0, COUNT - 1} <= set(found)
    assert_reported(bag, found, COUNT)


def test_messages_that_are_compressed_without_metadata(
    new_bag: Callable[..., Recorder],
) -> None:
    bag = record(new_bag("sqlite3", compression=rosbag2.CompressionMode.MESSAGE))
    (bag / "metadata.yaml").unlink()
    assert numbers(BagSource(bag)) == list(range(COUNT))


def test_an_undecodable_image_is_unreadable_and_another_size_is_not(
    new_bag: Callable[..., Recorder],
) -> None:
    recorder = new_bag()
    png = cv2.imencode(".png", np.zeros((6, 8), np.uint8))[1].tobytes()
    small = cv2.imencode(".png", np.zeros((3, 4), np.uint8))[1].tobytes()
    for index, data in enumerate([png, png[: len(png) // 2], small, png]):
        recorder.compressed("/image/compressed", data, START + index)
    calib = CameraIntrinsics(width=8, height=6, fx=10, fy=10, cx=3.5, cy=2.5)
    source = BagSource(recorder.done(), calib=calib)
    assert len(list(source)) == 2
    assert (source.unreadable, source.skipped) == (1, 1)
    assert [text.split(": ")[1] for text in source.remarks] == [
        "1 images are left out, which are of another size or without a calibration",
        "1 images cannot be decoded",
    ]


# ---- videos ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_a_video_that_ends_early(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
        writer.write(pixels)
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    camera = CameraIntrinsics(width=64, height=48, fx=40, fy=40, cx=31.5, cy=23.5)
    source = VideoSource(path, camera)
    found = len(list(source))
    assert source.unreadable == 40 - found == (0 if kept == 1 else pytest.approx(20, abs=4))
    assert len(source.remarks) == (kept < 1)
    assert all(f"{40 - found} of 40 frames cannot be read" in text for text in source.remarks)


# ---- the commands ----------------------------------------------------------------------------


def test_the_commands_report_it(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "drive"
    write_bag(SmallSequence(COUNT), bag, tmp_path / "unused")
    chunks = chunked(bag, CompressionType.ZSTD)
    damage(storage_file(bag), *chunks[-2])
    bundle, out = make_bundle(tilted_wall(), pose(1, step_m=0.7)), tmp_path / "out"
    (tmp_path / "networks.yaml").write_text("odometry: {mode: network}\n")
    words = ["bag", str(bag), "--out", str(out), "--model", str(bundle)]
    assert main([*words, "--config", str(tmp_path / "networks.yaml")]) == 3
    printed = capsys.readouterr()
    summary = json.loads((out / "summary.json").read_text())
    unreadable = summary["frames_unreadable"]
    assert unreadable > 0 and summary["frames"] + unreadable == COUNT
    assert f"WARNING: {unreadable} frames of the input could not be read" in printed.err
    assert f"{unreadable} of {COUNT} images are listed and cannot be found" in printed.out
    assert "are listed and cannot be found" in (out / "report.html").read_text()
    prepare = pytest.importorskip("training.prepare")
    assert prepare.main(["bag", str(tmp_path / "set"), "--file", str(bag), "--no-report"]) == 3
    assert f"{unreadable} of {COUNT} images are listed" in capsys.readouterr().out


def test_the_topics_of_a_bag_are_those_that_it_lists(new_bag: Callable[..., Recorder]) -> None:
    bag = record(new_bag())
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    stated = {IMAGES: COUNT + 3, INFOS: COUNT - 3}
    for topic in metadata["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["message_count"] = stated[topic["topic_metadata"]["name"]]
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    file = BagFile(bag)
    # The larger one: the file may have lost messages, and the metadata may be older than it.
    assert {topic: count for topic, (_, count) in file.topics.items()} == {
        IMAGES: COUNT + 3,
        INFOS: COUNT,
    }
    assert file.remarks == ()


@pytest.mark.parametrize("kind", ["ros1", "sqlite3", "mcap"])
def test_a_bag_may_be_closed_by_another_thread(
    kind: str, new_bag: Callable[..., Recorder]
) -> None:
    """As by a run that is stopped while its reader thread is ahead."""
    frames = iter(BagSource(record(new_bag(kind))))
    with ThreadPoolExecutor(1) as reader:
        first = reader.submit(next, frames).result()
    assert first.frame.stamp_ns == START
    assert next(frames).frame.stamp_ns == START + 100_000_000
    frames.close()


def test_the_demo_plays_what_can_be_found(new_bag: Callable[..., Recorder]) -> None:
    bag = record(new_bag("mcap"))
    damage(storage_file(bag), *chunked(bag, CompressionType.ZSTD)[2])
    given = open_input(InputOptions(kind="bag", path=bag))
    playable = given.playable()
    assert playable is not None and playable.bag is not None and playable.bag.frames == COUNT
    read: list[None] = []
    missing = playable.missing(None, is_read=False, on_frame=lambda: read.append(None))
    assert missing == playable.unreadable == COUNT - len(numbers(BagSource(bag))) > 0
    assert len(read) == COUNT - missing
    assert playable.missing(None, is_read=True) == missing
    assert playable.missing(2, is_read=False) == 0  # it is not read to its end


@pytest.mark.parametrize("named", [True, False])
def test_poses_that_cannot_be_found_are_counted(
    named: bool, new_bag: Callable[..., Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = new_bag("mcap")
    for index in range(COUNT):
        pose_of = np.eye(4)
        pose_of[0, 3] = index
        recorder.pose("/gt", pose_of, START + index * 100_000_000)
    bag = recorder.done()
    chunks = chunked(bag, CompressionType.LZ4)
    path = f"{bag}:/gt" if named else str(bag)
    assert main(["trajectory", path, path]) == 0
    damage(storage_file(bag), *chunks[2])
    capsys.readouterr()
    assert main(["trajectory", path, path]) == 3
    assert f"of {COUNT} poses are listed and cannot be found" in capsys.readouterr().out
