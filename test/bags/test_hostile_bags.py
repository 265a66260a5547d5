"""A bag takes no more memory or disk than the limits, and names only its own files."""

from __future__ import annotations

import bz2
import os
import sqlite3
import tempfile
from dataclasses import replace
from types import SimpleNamespace

import lz4.frame
import numpy as np
import pytest
import yaml
from hostile_bags import MIB, PackedChunk, packed_message, size_of_message, write_mcap
from limited import run_limited
from rosbags import rosbag2
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2.storage_mcap import zstd

from sfm_ros.bags import decompression
from sfm_ros.bags.depth_messages import cloud_points
from sfm_ros.bags.reader import BagFile
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.safety import limits

IMAGE = np.zeros((6, 8, 3), np.uint8)
READ = """
import sys; from sfm_ros.bags.reader import BagFile; from sfm_ros.errors import SfmRosError
try:
    for _ in BagFile(sys.argv[1]).serialized(["/image"]): print("one message")
except SfmRosError as error: print(error)
"""


@pytest.fixture(scope="module")
def large():
    return PackedChunk(packed_message(200), size_of_message(200))


def assert_refused(path, reason, most_mib=400):
    run = run_limited(READ, path)
    assert run.code == 0, run.error
    assert reason in run.output
    assert run.peak_mib < most_mib


def test_the_bags_of_these_tests_can_be_read(tmp_path):
    chunk = PackedChunk(packed_message(1), size_of_message(1))
    for index in (True, False):
        path = write_mcap(tmp_path / f"{index}.mcap", [chunk, chunk], index)
        messages = [data for *_, data in BagFile(path).serialized(["/image"])]
        assert list(map(len, messages)) == [MIB, MIB]


def test_chunks_of_one_moment_take_no_gigabytes(tmp_path, large):
    path = write_mcap(tmp_path / "a.mcap", [large] * 40)
    assert path.stat().st_size < 2_000_000
    assert_refused(path, "chunks of one moment are more than 536870912 bytes")
    one_after_the_other = [replace(large, start_ns=20 * i, end_ns=20 * i + 10) for i in range(3)]
    assert BagFile(write_mcap(tmp_path / "b.mcap", one_after_the_other)).topics["/image"][1] == 3


@pytest.mark.parametrize("index", [True, False])
def test_the_files_of_a_bag_are_counted_together(tmp_path, large, index):
    for part in range(2):
        write_mcap(
            tmp_path / f"{part}.mcap", [large, replace(large, start_ns=20, end_ns=30)], index
        )
    assert BagFile(tmp_path).topics["/image"][1] == 4
    write_mcap(tmp_path / "2.mcap", [large], index)
    # To scan a file, one chunk after the other is unpacked.
    assert_refused(tmp_path, "chunks of one moment are more than 536870912 bytes", 700)


@pytest.mark.parametrize("index", [True, False])
def test_a_chunk_is_refused_by_its_stated_size(tmp_path, index):
    packed = packed_message(300)
    path = write_mcap(tmp_path / "a.mcap", [PackedChunk(packed, size_of_message(300))], index)
    assert_refused(path, f"a chunk is {size_of_message(300)} bytes when unpacked")


@pytest.mark.parametrize("index", [True, False])
def test_a_chunk_that_states_less_than_it_holds_is_refused(tmp_path, large, index):
    path = write_mcap(tmp_path / "a.mcap", [replace(large, stated=1000)], index)
    assert_refused(path, "packed data of more than 1000 bytes")


@pytest.mark.parametrize(("name", "pack"), [("bz2", bz2.compress), ("lz4", lz4.frame.compress)])
def test_chunks_of_ros1_are_bounded(monkeypatch, name, pack):
    unpack = rosbag1_reader.decompressors[name]
    assert unpack(pack(b"a" * 1000)) == b"a" * 1000
    monkeypatch.setattr(limits, "BAG_CHUNK", 999)
    with pytest.raises(UnsafeFileError, match="more than 999 bytes"):
        unpack(pack(b"a" * 1000))
    with pytest.raises(UnsafeFileError, match="cut off"):
        unpack(pack(b"a" * 100)[:-3])


def test_frames_are_joined_up_to_the_limit():
    frames = zstd.compress(b"ab") + zstd.compress(b"cd")
    assert decompression.unpack(frames, 4) == b"abcd"
    with pytest.raises(UnsafeFileError, match="more than 3 bytes"):
        decompression.unpack(frames, 3)
    with pytest.raises(UnsafeFileError, match="more than 64 frames"):
        decompression.unpack(frames * 40, 1000)


def compressed_bag(new_bag, mode, count=1):
    recorder = new_bag("sqlite3", compression=rosbag2.CompressionMode[mode])
    for index in range(count):
        recorder.image("/image", IMAGE, "rgb8", index)
    return recorder.done()


def test_packed_messages_are_bounded(new_bag, monkeypatch):
    path = compressed_bag(new_bag, "MESSAGE")
    assert len(list(BagFile(path).records(["/image"]))) == 1
    monkeypatch.setattr(limits, "BAG_CHUNK", 50)
    with pytest.raises(SourceError, match="packed data of more than 50 bytes"):
        list(BagFile(path).records(["/image"]))


@pytest.mark.parametrize("is_stated", [True, False])
def test_packed_files_are_bounded(new_bag, monkeypatch, tmp_path, is_stated):
    path = compressed_bag(new_bag, "FILE")
    assert len(list(BagFile(path).records(["/image"]))) == 1
    (file,) = path.glob("*.zstd")
    content = bytes(20 * MIB)
    with file.open("wb") as out:
        if is_stated:
            out.write(zstd.compress(content))
        else:
            with zstd.ZstdFile(out, "w") as stream:
                stream.write(content)
    assert bool(zstd.get_frame_info(file.read_bytes()).decompressed_size) == is_stated
    monkeypatch.setattr(limits, "BAG_UNPACKED", 10 * MIB)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    if is_stated:
        monkeypatch.setattr(zstd, "ZstdFile", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(SourceError, match="20971520 bytes when unpacked|more than 10485760"):
        BagFile(path)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_disk_is_not_filled(new_bag, monkeypatch):
    path = compressed_bag(new_bag, "FILE")
    monkeypatch.setattr(limits, "BAG_DISK_RESERVE", 2**60)
    with pytest.raises(SourceError, match="takes 0 of one bag"):
        BagFile(path)


@pytest.mark.parametrize(
    "name", ["/dev/zero", "..", "../..", "pipe.mcap", "link.mcap", "zero.mcap", 7, None, ""]
)
def test_metadata_names_files_of_its_folder_only(new_bag, tmp_path, name):
    recorder = new_bag("mcap")
    recorder.image("/image", IMAGE, "rgb8", 0)
    path = recorder.done()
    (file,) = path.glob("*.mcap")
    (tmp_path / "outside.mcap").write_bytes(file.read_bytes())
    (path / "link.mcap").symlink_to(tmp_path / "outside.mcap")
    (path / "zero.mcap").symlink_to("/dev/zero")
    os.mkfifo(path / "pipe.mcap")
    text = (path / "metadata.yaml").read_text()
    values = yaml.safe_load(text)
    values["rosbag2_bagfile_information"]["relative_file_paths"] = [name]
    (path / "metadata.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SourceError, match="plain name|leaves the folder|not a regular|ending in"):
        BagFile(path)


@pytest.mark.parametrize("name", ["pipe.mcap", "link.mcap"])
def test_a_folder_without_metadata_holds_its_own_files(tmp_path, name):
    folder = tmp_path / "bag"
    folder.mkdir()
    write_mcap(tmp_path / "outside.mcap", [])
    if name == "link.mcap":
        (folder / name).symlink_to(tmp_path / "outside.mcap")
    else:
        os.mkfifo(folder / name)
    with pytest.raises(
        SourceError, match="cannot open the bag.*(leaves the folder|not a regular)"
    ):
        BagFile(folder)


def test_the_path_in_front_of_a_name_is_not_followed(new_bag):
    recorder = new_bag("mcap")
    recorder.image("/image", IMAGE, "rgb8", 0)
    path = recorder.done()
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("bag.mcap", "/other/folder/bag.mcap"))
    assert BagFile(path).topics["/image"][1] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW schema AS WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT 1 FROM n) "
        "SELECT max(v) AS schema_version FROM n",
        "CREATE TABLE extra(id INTEGER, x BLOB AS (zeroblob(1000000000)))",
    ],
)
def test_a_table_that_computes_is_refused(new_bag, statement):
    recorder = new_bag("sqlite3")
    recorder.image("/image", IMAGE, "rgb8", 0)
    path = recorder.done()
    (file,) = path.glob("*.db3")
    connection = sqlite3.connect(file)
    if "VIEW" in statement:
        connection.execute("DROP TABLE schema")
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(SourceError, match="expected tables of values"):
        BagFile(path)


@pytest.mark.parametrize(("step", "offset"), [(12, 4), (0, 0), (12, 2**32 - 4)])
def test_a_cloud_whose_fields_leave_its_points_is_refused(step, offset):
    fields = [
        SimpleNamespace(name=name, offset=offset + 4 * i, datatype=7)
        for i, name in enumerate("xyz")
    ]
    message = SimpleNamespace(
        fields=fields, is_bigendian=False, width=1, height=1, point_step=step, row_step=step,
        data=np.zeros(64, np.uint8),
    )  # fmt: skip
    with pytest.raises(SourceError, match="outside of its"):
        cloud_points(message, "/points")


def test_the_quality_of_service_is_read_with_limits(tmp_path):
    bomb = "a0: &a0 {x: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10)
    )
    path = write_mcap(tmp_path / "a.mcap", [], qos=bomb)
    with pytest.raises(SourceError, match="alias"):
        BagFile(path)
