"""A bag that cannot be read names what is wrong with it and the tool that helps, and only then."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mutations.bag_files import IMAGES, KINDS, METADATA, TOPIC, small_bag, storage_file
from rosbags.rosbag2.storage_mcap import zstd

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.storage import is_bag
from sfm_ros.errors import SourceError
from sfm_ros.sources.factory import recognize

TOOLS = {"ros1": "rosbag reindex", "mcap": "mcap recover", "sqlite3": ".recover | sqlite3"}


def images(path: Path) -> int:
    return sum(1 for _ in BagFile(path).serialized([TOPIC]))


def reason(path: Path) -> str:
    with pytest.raises(SourceError) as refused:
        images(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_file_names_the_tool_that_repairs_it(kind: str, tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path, kind))
    cut = tmp_path / f"a b{file.suffix}"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    text = reason(cut)
    assert TOOLS[kind] in text and f"'{cut}'" in text  # as a shell takes it


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
def test_the_command_for_sqlite_works(tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path, "sqlite3"))
    content = bytearray(file.read_bytes())
    content[100:108] = b"\xff" * 8  # the first page
    file.write_bytes(content)
    command = reason(file).partition("`")[2].partition("`")[0]
    subprocess.run(command, shell=True, check=True)
    assert file.with_name(f"{file.stem}_repaired.db3").is_file()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "holds nothing"), (bytes(5000), "holds nothing"), (b"text\n" * 99, "no tool repairs")],
    ids=["empty", "zeros", "foreign"],
)
def test_what_no_tool_repairs_names_none(
    kind: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{KINDS[kind]}"
    path.write_bytes(content)
    text = reason(path)
    assert expected in text and not any(tool in text for tool in TOOLS.values())


def test_a_file_with_the_suffix_of_another_kind_is_to_be_renamed(tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path, "mcap"))
    assert "belongs into a .mcap file" in reason(file.rename(tmp_path / "x.bag"))


def test_the_file_of_a_killed_recorder_is_recognized(tmp_path: Path) -> None:
    bag = small_bag(tmp_path, "ros1")
    active = bag.rename(tmp_path / "drive.bag.active")
    assert is_bag(active) and recognize(active) == "bag"
    for path in (active, tmp_path):
        assert f"`rosbag reindex {active}` and rename it to drive.bag" in reason(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_suffix_in_capitals_is_one(kind: str, tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path, kind))
    renamed = file.rename(tmp_path / f"DRIVE{file.suffix.upper()}")
    assert is_bag(renamed) and images(renamed) == IMAGES
    packed = renamed.with_name(f"{renamed.name}.ZSTD")
    packed.write_bytes(zstd.compress(renamed.read_bytes()))
    assert is_bag(packed) and images(packed) == IMAGES


@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
@pytest.mark.parametrize("packed_only", [True, False])
def test_a_folder_of_packed_files_without_metadata(
    kind: str, packed_only: bool, tmp_path: Path
) -> None:
    bag = small_bag(tmp_path, kind)
    file = storage_file(bag)
    file.with_name(f"{file.name}.zstd").write_bytes(zstd.compress(file.read_bytes()))
    if packed_only:
        file.unlink()
    (bag / METADATA).unlink()
    assert is_bag(bag) and images(bag) == IMAGES


def test_a_folder_of_parts_of_ros_1(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    bag = small_bag(tmp_path, "ros1")
    for index in range(3):
        shutil.copyfile(bag, parts / f"drive_{index}.bag")
    assert is_bag(parts) and images(parts) == 3 * IMAGES


def test_damaged_metadata_names_reindex(tmp_path: Path) -> None:
    bag = small_bag(tmp_path, "mcap")
    (bag / METADATA).write_text("rosbag2_bagfile_information: [1\n")
    assert f"`ros2 bag reindex {bag}`" in reason(bag)
    spaced = bag.rename(tmp_path / "a b")
    assert f"`ros2 bag reindex '{spaced}'`" in reason(spaced)  # as a shell takes it
