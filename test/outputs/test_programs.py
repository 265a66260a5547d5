"""Every program that takes an output folder follows the rule, from its command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from writers.programs import Program, make_inputs, programs
from writers.trees import fill, small_disk, snapshot

from sfm_ros.evaluation import session
from sfm_ros.outputs.folder import OutputFolder
from sfm_ros.outputs.marker import MARKER, Marker

NAMES = ("evaluate", "demo --keep-bag", "kitti_to_bag", "prepare", "train", "export")
REPLACING = ("evaluate", "demo --keep-bag", "export")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The inputs of the programs."""
    return make_inputs(tmp_path / "data")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Program]:
    """All programs by name."""
    return programs(monkeypatch)


@pytest.fixture(params=NAMES)
def program(request: pytest.FixtureRequest, known: dict[str, Program]) -> Program:
    """Each of the programs that leave a marker."""
    return known[request.param]


def files_in(folder: Path) -> dict[str, object]:
    return {name: value for name, value in snapshot(folder).items() if value is not None}


# What was lost before there was a rule


def test_bundle_does_not_replace_the_run_it_is_made_of(
    known: dict[str, Program], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(data)
    assert known["export"].run(data / "run", data) == 1
    assert "run is not empty (history.csv, last.pt)" in capsys.readouterr().err
    assert snapshot(data) == before


def test_demo_does_not_replace_the_recording_it_plays(
    known: dict[str, Program], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    assert known["demo --keep-bag"].run(out, data) == 0
    (data / "images").rename(out / "bag" / "images")
    (data / "images").symlink_to(out / "bag" / "images")
    before = snapshot(data)
    assert known["demo --keep-bag"].run(out, data) == 1
    assert "out holds the input" in capsys.readouterr().err
    assert snapshot(data) == before


@pytest.mark.parametrize("name", [".", "link"])
def test_data_set_is_no_folder_for_its_results(
    known: dict[str, Program],
    data: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in TUM RGB-D: the data set's own folder ``depth`` has the name of ours."""
    recorded = fill(data / "tum", {"depth/1.png": "mine", "depth/2.npy": "", "rgb/1.png": ""})
    (recorded / "link").symlink_to(recorded)
    monkeypatch.chdir(recorded)
    before = snapshot(data)
    assert known["evaluate"].run(Path(name), data) == 1
    assert f"{name} is not empty (depth, link, rgb)" in capsys.readouterr().err
    assert snapshot(data) == before


def test_poses_in_the_folder_are_not_replaced(
    known: dict[str, Program], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, poses = data / "out", data / "poses.tum"
    assert known["evaluate"].run(out, data) == 0
    text = poses.read_text()
    poses.rename(out / "ground_truth.tum")
    poses.symlink_to(out / "ground_truth.tum")
    assert known["evaluate"].run(out, data) == 1
    assert "ground_truth.tum" in capsys.readouterr().err
    assert (out / "ground_truth.tum").read_text() == text


def test_parts_of_others_are_kept(known: dict[str, Program], data: Path) -> None:
    out = fill(data / "mine", {"parts/1.stl": "mine"})
    assert known["prepare"].run(out, data) == 1
    assert files_in(out) == {"parts/1.stl": b"mine"}
    assert known["prepare"].run(data / "out", data) == 0
    fill(data / "out", {"parts/1.stl": "mine"})
    assert known["prepare"].run(data / "out", data) == 0
    assert (data / "out" / "parts" / "1.stl").read_text() == "mine"


def test_history_of_others_is_kept(known: dict[str, Program], data: Path) -> None:
    out = fill(data / "mine", {"history.csv": "mine"})
    assert known["train"].run(out, data) == 1
    assert files_in(out) == {"history.csv": b"mine"}


@pytest.mark.parametrize("name", ["evaluate", "demo --keep-bag", "export", "train"])
def test_results_of_others_are_kept(known: dict[str, Program], data: Path, name: str) -> None:
    out = fill(data / "mine", dict.fromkeys(known[name].names, "mine"))
    before = snapshot(out)
    assert known[name].run(out, data) == 1
    assert snapshot(out) == before


# What has always worked


@pytest.mark.parametrize("name", [*REPLACING, "prepare"])
def test_same_folder_again(
    known: dict[str, Program], data: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    for _ in range(2):
        assert known[name].run(out, data) == 0
        fill(out, {"notes.txt": "mine"})
    marker = Marker.read(out)
    assert marker is not None and marker.is_complete
    assert set(files_in(out)) == marker.files | {"notes.txt", MARKER}
    assert "did not reach its end" not in capsys.readouterr().err


def test_demo_and_evaluation_share_a_folder(known: dict[str, Program], data: Path) -> None:
    out = data / "out"
    assert known["demo --keep-bag"].run(out, data) == 0 and (out / "bag").is_dir()
    assert known["evaluate"].run(out, data) == 0 and not (out / "bag").exists()


def test_set_of_version_0_1_is_continued(known: dict[str, Program], data: Path) -> None:
    out = data / "out"
    assert known["prepare"].run(out, data) == 0
    before = files_in(out)
    (out / MARKER).unlink()
    fill(out, {"notes.txt": "mine"})
    assert known["prepare"].run(out, data) == 0
    assert files_in(out) == before | {"notes.txt": b"mine"}


# One writer, on a disk with room


def test_second_program_is_refused(
    program: Program, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data / "out"
    with OutputFolder(out, program.marker):
        before = snapshot(out)
        assert program.run(out, data) == 1
        assert snapshot(out) == before
    assert f"(process {os.getpid()})" in capsys.readouterr().err
    assert program.run(out, data) == 0


def test_folder_that_cannot_be_made_is_noticed_at_the_start(
    program: Program, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(Path("/proc/sfm_ros_out"), data) == 1
    assert "cannot write in /proc/sfm_ros_out" in capsys.readouterr().err


def test_disk_without_room_is_noticed_at_the_start(
    program: Program, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        assert program.run(disk / "out", data) == 1
        assert not any(disk.rglob("*"))
    assert "MiB are needed; make room" in capsys.readouterr().err


def test_disk_that_fills_up_leaves_the_earlier_results(
    known: dict[str, Program],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill_disk(*given: object) -> None:
        with (Path(str(given[-2])) / "summary.json").open("wb") as stream:
            while True:
                stream.write(bytes(2**20))

    with small_disk(tmp_path / "disk", 80) as disk:
        out = disk / "out"
        assert known["evaluate"].run(out, data) == 0
        before = snapshot(disk)
        with monkeypatch.context() as patch:
            patch.setattr(session, "_write", fill_disk)
            assert known["evaluate"].run(out, data) == 1
        error = capsys.readouterr().err
        assert f"cannot write in {out}: No space left on device; make room" in error
        assert snapshot(disk) == before
        assert known["evaluate"].run(out, data) == 0
