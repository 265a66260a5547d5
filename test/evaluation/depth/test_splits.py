"""The tables of the splits expand to the published lists of frames."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from sfm_ros.errors import ConfigError
from sfm_ros.evaluation.depth.splits import (
    RAW_DRIVE_OF_SEQUENCE,
    SPLITS,
    frames_of_split,
    parse_ranges,
)

Frames = dict[str, list[int]]
CAMERAS = {"l": 2, "r": 3}


@pytest.fixture
def lists(shared_data: Path) -> Path:
    return shared_data / "kitti_splits"


def listed(path: Path, camera: int | None = None) -> Frames:
    """``drive frame side`` lines of one camera, or of both."""
    frames: dict[str, set[int]] = defaultdict(set)
    for line in path.read_text().splitlines():
        drive, number, side = line.split()
        if camera in (None, CAMERAS[side]):
            name = drive.split("/")[-1]
            frames[f"{int(name):02d}" if name.isdecimal() else name].add(int(number))
    return {drive: sorted(numbers) for drive, numbers in frames.items()}


def test_eigens_test_frames(lists: Path) -> None:
    expected: Frames = defaultdict(list)
    for line in (lists / "test_files_eigen.txt").read_text().split():
        parts = line.split("/")
        expected[parts[1]].append(int(Path(parts[-1]).stem))
    expected = {drive: sorted(numbers) for drive, numbers in expected.items()}
    found = frames_of_split("eigen")
    assert found == expected and sum(map(len, found.values())) == 697
    scenes = (lists / "test_scenes_eigen.txt").read_text().split()
    assert set(found) == {f"{scene}_sync" for scene in scenes}
    dates = frames_of_split("eigen_26_28")
    assert dates == {d: n for d, n in expected.items() if d[:10] in ("2011_09_26", "2011_09_28")}
    assert sum(map(len, dates.values())) == 547
    improved = listed(lists / "eigen_benchmark" / "test_files.txt")
    assert frames_of_split("eigen_improved") == improved


def test_static_frames(lists: Path) -> None:
    expected: Frames = defaultdict(list)
    for line in (lists / "static_frames.txt").read_text().splitlines():
        _, drive, number = line.split()
        expected[drive].append(int(number))
    found = frames_of_split("static")
    assert found == {drive: sorted(numbers) for drive, numbers in expected.items()}
    assert sum(map(len, found.values())) == 8044


@pytest.mark.parametrize("camera", [2, 3])
@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize(("name", "folder"), [("zhou", "eigen_zhou"), ("odometry", "odom")])
def test_frames_to_train_and_validate_with(
    lists: Path, name: str, folder: str, part: str, camera: int
) -> None:
    expected = listed(lists / folder / f"{part}_files.txt", camera)
    assert frames_of_split(f"{name}_{part}", camera) == expected


def test_both_cameras_together(lists: Path) -> None:
    assert frames_of_split("zhou_train") == listed(lists / "eigen_zhou" / "train_files.txt")
    whole = frames_of_split("zhou")
    parts = [frames_of_split(f"zhou_{part}", 2) for part in ("train", "val")]
    assert whole == {d: sorted(parts[0].get(d, []) + parts[1].get(d, [])) for d in whole}


def test_odometry_test_sequences(lists: Path) -> None:
    expected = {s: listed(lists / "odom" / f"test_files_{s}.txt")[s] for s in ("09", "10")}
    assert frames_of_split("odometry_test") == expected


def test_test_frames_are_not_training_frames() -> None:
    assert not set(frames_of_split("eigen")) & set(frames_of_split("zhou"))
    assert not set(frames_of_split("odometry_test")) & set(frames_of_split("odometry"))
    assert set(frames_of_split("odometry")) | {"09", "10"} == set(RAW_DRIVE_OF_SEQUENCE)


def test_ranges() -> None:
    assert parse_ranges("3 5-7 10-20/5") == {3, 5, 6, 7, 10, 15, 20}
    assert parse_ranges("") == set()


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="eigen_improved") as caught:
        frames_of_split("make3d")
    assert all(name in str(caught.value) for name in SPLITS)
