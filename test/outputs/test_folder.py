"""The rule of output folders, sentence by sentence, with real folders."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from writers.trees import fill, small_disk, snapshot

from sfm_ros.errors import OutputError
from sfm_ros.outputs.folder import OutputFolder, check_output_files, named_paths, require_room
from sfm_ros.outputs.lock import LOCK, FolderLock, check_unlocked
from sfm_ros.outputs.marker import MARKER, Marker

PROGRAM, MAIN = "program", "summary.json"
FIRST = {MAIN: "first", "metrics.json": "first", "depth/1.png": "first"}
SECOND = {MAIN: "second", "metrics.json": "second", "depth/2.png": "second"}


def run(out: Path, files: dict[str, str], program: str = PROGRAM, **how: object) -> None:
    """A program that stages its results."""
    with OutputFolder(out, program, **how) as folder:  # type: ignore[arg-type]
        fill(folder.stage(), files)
        folder.publish(MAIN)


def state_of(out: Path) -> str:
    return json.loads((out / MARKER).read_text())["state"]


def texts_in(out: Path) -> dict[str, str]:
    found = {k: v.decode() for k, v in snapshot(out).items() if isinstance(v, bytes)}
    return {name: text for name, text in found.items() if name != MARKER}


def check_refused(out: Path, message: str, **how: object) -> None:
    """The run is refused in one line, and nothing has changed."""
    around = out.parent
    before = snapshot(around)
    with pytest.raises(OutputError, match=message) as refusal:
        run(out, SECOND, **how)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
    assert snapshot(around) == before


# Whose folder it is


@pytest.mark.parametrize("name", ["new", "deep/in/new", "empty"])
def test_new_or_empty_folder_is_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    run(tmp_path / name, FIRST)
    assert texts_in(tmp_path / name) == FIRST and state_of(tmp_path / name) == "complete"
    marker = json.loads((tmp_path / name / MARKER).read_text())
    assert marker["program"] == PROGRAM and marker["files"] == sorted(FIRST)


def test_only_files_of_the_earlier_run_are_replaced_or_deleted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, FIRST)
    fill(out, {"notes.txt": "mine", "depth/mine.png": "mine"})
    run(out, SECOND)
    assert texts_in(out) == SECOND | {"notes.txt": "mine", "depth/mine.png": "mine"}


def test_folder_that_a_run_leaves_empty_is_removed(tmp_path: Path) -> None:
    run(tmp_path, FIRST)
    run(tmp_path, {MAIN: "second"})
    assert texts_in(tmp_path) == {MAIN: "second"} and not (tmp_path / "depth").exists()


def test_folder_of_others_is_refused_and_the_refusal_names_what_to_do(tmp_path: Path) -> None:
    fill(tmp_path / "out", {"a.txt": "", "b.txt": "", "depth/1.png": "", "metrics.json": ""})
    message = r"not empty \(a.txt, b.txt, depth, ...\).*version 0.1 wrote none.*new or empty fold"
    check_refused(tmp_path / "out", message)


def test_folder_of_another_program_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "out", FIRST, "another")
    check_refused(tmp_path / "out", "holds the output of another, not of program; name another")


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    check_refused(tmp_path / "out", "is a file, expected a folder")


@pytest.mark.parametrize(
    "planned", [("metrics.json",), ("depth/",), ("depth/3.png",), ("metrics.json/a",)]
)
def test_file_of_others_in_a_folder_of_ours_is_noticed_at_the_start(
    tmp_path: Path, planned: tuple[str, ...]
) -> None:
    run(tmp_path / "out", {MAIN: "first", "depth/1.png": "first"})
    fill(tmp_path / "out", {"metrics.json": "mine", "depth/3.png": "mine"})
    check_refused(tmp_path / "out", "not written by an earlier run.*move it", planned=planned)


def test_file_of_others_is_not_replaced_at_the_end(tmp_path: Path) -> None:
    run(tmp_path / "out", {MAIN: "first"})
    fill(tmp_path / "out", {"metrics.json": "mine"})
    check_refused(tmp_path / "out", "metrics.json was not written by an earlier run")


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "no json", '{"format": 2}',
        Marker(program=PROGRAM, files=frozenset({"../precious.txt"})),
        Marker(program=PROGRAM, files=frozenset({"/etc/passwd"})),
        Marker(program=PROGRAM, staging="../precious"),
        Marker(program=PROGRAM, staging="depth"),
    ],
)  # fmt: skip
def test_damaged_or_forged_marker_is_refused(tmp_path: Path, text: str | Marker) -> None:
    out = fill(tmp_path / "out", {"depth/1.png": "mine"})
    fill(tmp_path, {"precious.txt": "mine", "precious/a": "mine"})
    if isinstance(text, Marker):
        text.write(out)
    else:
        (out / MARKER).write_text(text)
    check_refused(out, "is damaged or of another version")


def test_folder_of_version_0_1_is_used_if_it_is_recognized(tmp_path: Path) -> None:
    out = fill(tmp_path / "out", {"metrics.json": "old", "notes.txt": "mine"})
    check_refused(out, "is not empty", recognize=lambda _: [])
    run(out, SECOND, recognize=lambda _: ["metrics.json", "absent"])
    assert texts_in(out) == SECOND | {"notes.txt": "mine"}


# Inputs


@pytest.mark.parametrize(("out", "relation"), [("data", "is"), ("data/..", "holds"), (".", "hol")])
def test_folder_of_the_input_and_those_above_are_refused(
    tmp_path: Path, out: str, relation: str
) -> None:
    here = tmp_path / "here"
    run(here, FIRST)
    run(here / "data", FIRST)
    check_refused(here / out, f"{relation}.* the input .*data; name", inputs=[here / "data"])


def test_folder_below_the_input_may_be_used(tmp_path: Path) -> None:
    fill(tmp_path, {"1.png": "mine"})
    run(tmp_path / "results", FIRST, inputs=[tmp_path])
    assert texts_in(tmp_path / "results") == FIRST


def test_input_among_the_replaced_files_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, FIRST)
    (tmp_path / "link").symlink_to(out / "metrics.json")
    for given in (out / "metrics.json", tmp_path / "link"):
        check_refused(out, "metrics.json is one of the files that are replaced", inputs=[given])
    fill(out, {"poses.tum": "mine"})
    run(out, SECOND, inputs=[out / "poses.tum"])
    assert texts_in(out) == SECOND | {"poses.tum": "mine"}


def test_paths_of_a_command_line(tmp_path: Path) -> None:
    options = argparse.Namespace(
        out=Path("o"),
        poses=Path("p"),
        sets=[Path("a"), "b"],
        calib=None,
        model="default",
        estimate="drive.mcap:/odometry",
    )
    assert named_paths(options, "out") == [Path("p"), Path("a")]
    check_output_files(options, "out")
    for same in (Path("p"), Path("./default"), Path("x/../a"), Path("drive.mcap")):
        options.out = same
        with pytest.raises(OutputError, match=f"--out {same} is an input"):
            check_output_files(options, "out")


# Links


def test_links_are_not_followed(tmp_path: Path) -> None:
    out, data = tmp_path / "out", fill(tmp_path / "data", {"1.png": "mine", "2.png": "mine"})
    run(out, FIRST)
    (out / "depth" / "1.png").unlink()
    (out / "depth").rmdir()
    (out / "depth").symlink_to(data)
    check_refused(out, "out/depth was not written")
    (out / "depth").unlink()
    (out / "metrics.json").unlink()
    (out / "metrics.json").symlink_to(data / "1.png")
    check_refused(out, "out/metrics.json was not written")
    run(out, {MAIN: "third"})
    assert (out / "metrics.json").is_symlink() and texts_in(data) == {
        "1.png": "mine",
        "2.png": "mine",
    }


def test_link_to_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"depth/1.png": "mine"})
    (tmp_path / "out").symlink_to(tmp_path / "data")
    check_refused(tmp_path / "out", "is not empty")
    (tmp_path / "big").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "big")
    run(tmp_path / "other", FIRST)
    assert texts_in(tmp_path / "big") == FIRST


def test_marker_that_is_a_link_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "other", FIRST)
    fill(tmp_path / "out", FIRST)
    (tmp_path / "out" / MARKER).symlink_to(tmp_path / "other" / MARKER)
    check_refused(tmp_path / "out", "no regular file")


# One run, or visibly unfinished


@pytest.mark.parametrize("earlier", [None, FIRST])
def test_failed_run_leaves_the_folder_as_it_was(
    tmp_path: Path, earlier: dict[str, str] | None
) -> None:
    out = tmp_path / "deep" / "out"
    if earlier is not None:
        run(out, earlier)
    before = snapshot(tmp_path)
    with pytest.raises(KeyError), OutputFolder(out, PROGRAM) as folder:
        fill(folder.stage(), SECOND)
        raise KeyError
    assert snapshot(tmp_path) == before


def test_continued_files_are_unfinished_until_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), OutputFolder(tmp_path, PROGRAM) as folder:
        folder.begin(["last.pt", "history.csv"])
        fill(tmp_path, {"last.pt": "1"})
        raise KeyError
    assert state_of(tmp_path) == "unfinished"
    with OutputFolder(tmp_path, PROGRAM) as folder:
        assert folder.was_unfinished
        folder.begin(["last.pt"])
        fill(tmp_path, {"last.pt": "2"})
        folder.complete()
    assert texts_in(tmp_path) == {"last.pt": "2"} and state_of(tmp_path) == "complete"
    assert "the earlier run did not reach its end" in capsys.readouterr().err


def test_main_result_is_missing_while_others_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, FIRST)
    replace, seen = os.replace, []

    def observed(old: Path, new: Path) -> None:
        seen.append((new.name, state_of(tmp_path), (tmp_path / MAIN).exists()))
        replace(old, new)

    monkeypatch.setattr("os.replace", observed)
    run(tmp_path, SECOND)
    names = [name for name, _, _ in seen if name != MARKER]
    assert names == ["2.png", "metrics.json", MAIN]
    assert all(row[1:] == ("unfinished", False) for row in seen if row[0] in names)


# Two at once

HOLDER = """
import sys, time
from pathlib import Path
from sfm_ros.outputs.folder import OutputFolder
with OutputFolder(Path(sys.argv[1]), "program"):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_second_program_is_refused_with_the_process_id(tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", HOLDER, str(out)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "claimed\n"
            check_refused(out, rf"being written by another program \(process {holder.pid}\)")
            with pytest.raises(OutputError, match=str(holder.pid)):
                check_unlocked(out)
        finally:
            holder.send_signal(signal.SIGKILL)
    assert (out / LOCK).exists()
    run(out, FIRST)
    assert texts_in(out) == FIRST


# Disks


def test_folder_that_cannot_be_written_is_noticed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "out", Path("/proc/sfm_ros_out")):
        with pytest.raises(OutputError, match="cannot write in"), OutputFolder(out, PROGRAM):
            pytest.fail("claimed")


def test_disk_without_room_is_noticed_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="MiB left, about .* MiB are needed; make room"):
        require_room(tmp_path, 2**60)
    require_room(tmp_path, 1)


def test_full_disk_ends_in_one_line_and_leaves_the_earlier_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        out = disk / "out"
        run(out, FIRST)
        before = snapshot(disk)
        with pytest.raises(OutputError, match=r"cannot write in .*: No space left.*make room"):
            run(out, {"metrics.json": "x" * 2**21})
        assert snapshot(disk) == before
        (disk / "filler").write_bytes(b"")
        with pytest.raises(OSError), (disk / "filler").open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass
        with pytest.raises(OutputError, match="No space left"), OutputFolder(out, PROGRAM):
            pytest.fail("claimed")
        (disk / "filler").unlink()
        assert snapshot(disk) == before


def test_lock_of_a_process_that_has_ended_is_waited_for(tmp_path: Path) -> None:
    """A program that it was starting holds the lock for a moment longer."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.pwrite(descriptor, str(ended.pid).encode(), 0)
    release = threading.Timer(0.2, os.close, [descriptor])
    release.start()
    FolderLock(tmp_path).release()
    release.join()
