"""Writers killed at random moments leave a whole folder, or one that is visibly unfinished."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from writers.crash_points import FIRST, SECOND, STAGED, write_staged
from writers.killed import FRAMES, IN_TURN, TRAINING, WRITERS, make_data, run
from writers.trees import snapshot

from sfm_ros.evaluation.report.results import RESULT_FILES
from sfm_ros.model_spec import ModelSpec
from sfm_ros.outputs.lock import LOCK
from sfm_ros.outputs.marker import MARKER, Marker

KILLS = 10 if os.environ.get("SFM_SLOW_TESTS") == "1" else 2
TIMEOUT_S = 300.0
PLAN = ".unfinished/plan.json"
"""The last file that is removed when a bag is complete."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of the writers."""
    return make_data(tmp_path_factory.mktemp("killed") / "data")


@pytest.fixture(autouse=True)
def keep_handlers() -> Iterator[None]:
    """Restores what the programs set."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> str:
    """Name of a writer."""
    if request.param in TRAINING:
        pytest.importorskip("torch", reason="torch is not installed")
    return str(request.param)


def whole_runs(name: str, folder: Path, data: Path) -> tuple[list[Path], float]:
    """What runs that nobody kills leave, one for each kind of turn; and how long one takes."""
    outs, start = [], time.monotonic()
    for turn in range(len(FRAMES) if name == "evaluate" else 1):
        outs.append(folder / str(turn) / "out")
        assert run(name, outs[-1], data, turn) == 0
    return outs, (time.monotonic() - start) / len(outs)


def kill(name: str, out: Path, data: Path, repository: Path, delay_s: float) -> None:
    """Start a writer and kill it that long after its imports."""
    started = out.parent / "started"
    path = os.pathsep.join(map(str, (repository, repository / "test" / "helpers")))
    command = [sys.executable, "-m", "writers.killed", name, str(out), str(data), str(started)]
    with (out.parent / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while not started.exists():
            assert child.poll() is None and time.monotonic() < deadline, (
                out.parent / "log"
            ).read_text()
            time.sleep(0.01)
        time.sleep(delay_s)
    finally:  # a writer that is left over would slow every later test
        child.kill()
        code = child.wait()
    assert code == -signal.SIGKILL, (out.parent / "log").read_text()
    started.unlink()


def check_state(name: str, out: Path, whole: list[Path]) -> bool:
    """Whether a folder is of one run; else it must be visibly unfinished."""
    marker = Marker.read(out) if out.is_dir() else None
    if marker is None:
        assert not out.is_dir() or {p.name for p in out.iterdir()} <= {LOCK, f"{MARKER}.new"}
        return False
    if not marker.is_complete:
        return False
    ignored = (".sfm_output", "tensorboard/", PLAN)
    left = {k for k, v in snapshot(out).items() if v is not None and not k.startswith(ignored)}
    assert left == marker.files - {PLAN}
    _CHECKS[name](out, whole)
    return True


def _check_evaluation(out: Path, whole: list[Path]) -> None:
    frames = json.loads((out / "summary.json").read_text())["frames"]
    reference = whole[FRAMES.index(frames)]
    for name in RESULT_FILES:
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    assert set(snapshot(out / "depth")) == set(snapshot(reference / "depth"))


def _check_same_bytes(out: Path, whole: list[Path]) -> None:
    found, expected = (
        {k: v for k, v in snapshot(folder).items() if not k.startswith((".sfm_out", ".unfinish"))}
        for folder in (out, whole[0])
    )
    assert found == expected


def _check_bundle(out: Path, _: list[Path]) -> None:
    ModelSpec.load(out)


def _check_checkpoint(out: Path, _: list[Path]) -> None:
    from training.fit.checkpoint import load_checkpoint

    assert load_checkpoint(out / "last.pt")["step"] == 6


_CHECKS = {
    "evaluate": _check_evaluation,
    "kitti_to_bag": _check_same_bytes,
    "prepare": _check_same_bytes,
    IN_TURN: _check_same_bytes,
    "train": _check_checkpoint,
    "export": _check_bundle,
}


def test_killed_writer_leaves_one_run_or_an_unfinished_folder(
    writer: str,
    data: Path,
    tmp_path: Path,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, duration_s = whole_runs(writer, tmp_path / "whole", data)
    out, rng = tmp_path / "out", random.Random(writer)
    for index in range(KILLS):
        if writer not in ("evaluate", "export"):  # these replace what they find
            out = tmp_path / str(index) / "out"
            out.parent.mkdir()
        kill(writer, out, data, repository, rng.uniform(0.0, 1.2 * duration_s))
        is_whole = check_state(writer, out, whole)
        was_marked = (out / MARKER).exists()
        is_closed = is_whole and not (out / PLAN).exists()
        capsys.readouterr()
        status = run(writer, out, data)
        assert status == (1 if is_closed and writer == "kitti_to_bag" else 0)
        reported = "the earlier run did not reach its end" in capsys.readouterr().err
        assert reported == (was_marked and not is_whole)
        assert check_state(writer, out, whole)


@pytest.fixture
def crashed(tmp_path: Path, data: Path, repository: Path) -> Callable[[str], list[Path]]:
    """The folders that a writer leaves if it is killed before each change of the file system."""

    def run_all(name: str) -> list[Path]:
        path = os.pathsep.join(map(str, (repository, repository / "test" / "helpers")))
        command = [
            sys.executable,
            "-m",
            "writers.crash_points",
            name,
            str(tmp_path / "crashed"),
            str(data),
        ]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, timeout=TIMEOUT_S, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        folders = sorted((tmp_path / "crashed").iterdir(), key=lambda p: int(p.name))
        return [folder / "out" for folder in folders]

    return run_all


def test_results_are_of_one_run_whenever_it_is_killed(
    crashed: Callable[[str], list[Path]],
) -> None:
    outs, states = crashed(STAGED), set()
    for out in outs:
        marker = Marker.read(out)
        assert marker is not None
        found = snapshot(out)
        texts = {
            name: value.decode()
            for name, value in found.items()
            if isinstance(value, bytes) and not name.startswith(".sfm_output")
        }
        states.add("unfinished" if not marker.is_complete else texts["summary.json"])
        assert not marker.is_complete or texts in (FIRST, SECOND), out
        write_staged(out, SECOND)
        assert set(snapshot(out)) == {*SECOND, "a", "depth", MARKER}, out
    assert states == {"first", "unfinished", "second"} and len(outs) > 20


@pytest.mark.parametrize("name", ["kitti_to_bag", IN_TURN])
def test_writer_resumes_whenever_it_is_killed(
    name: str, data: Path, tmp_path: Path, crashed: Callable[[str], list[Path]]
) -> None:
    if name == IN_TURN:
        pytest.importorskip("torch", reason="torch is not installed")
    whole, _ = whole_runs(name, tmp_path / "whole", data)
    outs = crashed(name)
    for out in outs:
        is_closed = check_state(name, out, whole) and not (out / PLAN).exists()
        assert run(name, out, data) == (1 if is_closed and name == "kitti_to_bag" else 0), out
        assert check_state(name, out, whole), out
    assert len(outs) > 20
