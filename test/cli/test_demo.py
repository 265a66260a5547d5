"""The demo as a user runs it, with networks whose output is constant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import tilted_wall
from corridor import SMALL_CAMERA, ahead, draw

from sfm_ros.cli.demo import main
from sfm_ros.engines.factory import MODELS
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.model_spec import ModelSpec

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

FRAMES, STEP_M, ESTIMATED_STEP = 12, 1.0, 0.7
TIMEOUT_S = 60.0


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    """Networks that estimate a step of 0.7 units ahead per frame, before a tilted wall."""
    depth = tilted_wall()
    T_prev_curr = np.eye(4)
    T_prev_curr[2, 3] = ESTIMATED_STEP
    return make_bundle(depth, T_prev_curr)


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """A folder of images with a calibration and poses: straight ahead along a street."""
    folder = tmp_path / "sequence"
    (folder / "images").mkdir(parents=True)
    camera = SMALL_CAMERA
    for index, pose in enumerate(ahead([STEP_M] * (FRAMES - 1))):
        cv2.imwrite(str(folder / f"images/{index}.png"), draw(pose, camera, seed=index))
    (folder / "calib.txt").write_text("P0: 200 0 175.5 0 0 200 50 0 0 0 1 0\n")
    rows = [f"1 0 0 0 0 1 0 0 0 0 1 {STEP_M * index}\n" for index in range(FRAMES)]
    (folder / "poses.txt").write_text("".join(rows))
    return folder


def demo_command(sequence: Path, bundle: Path, out: Path, *more: str) -> list[str]:
    inputs = ["--images", str(sequence / "images"), "--calib", str(sequence / "calib.txt")]
    others = ["--model", str(bundle), "--out", str(out)]
    return [sys.executable, "-m", "sfm_ros.cli.demo", *inputs, *others, *more]


def run_demo(command: list[str], repository: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def summary_in(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


def test_every_frame_is_scored(
    sequence: Path, bundle: Path, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_demo(
        demo_command(sequence, bundle, out, "--poses", str(sequence / "poses.txt")), repository
    )
    assert done.returncode == 0, done.stderr
    assert str(out / "report.html") in done.stdout

    summary = summary_in(out)
    assert set(SUMMARY_KEYS) <= set(summary)
    assert (summary["frames"], summary["frames_lost"]) == (FRAMES, 0)
    assert summary["ate_m"] < 0.1
    assert summary["snippet_ate_mean"] < 0.05
    assert summary["straight_line_ate_mean"] == pytest.approx(0.0, abs=1e-4)
    assert 0 < summary["latency_p50_ms"] <= summary["latency_p99_ms"]
    assert summary["depth_abs_rel"] is None and summary["model"] == "fake"

    path = read_trajectory(out / "trajectory.tum")
    assert len(path) == FRAMES - 2, "a window of three gives its first pose with the third frame"
    steps = np.diff(path.positions[:, 2]) * summary["sim3_scale"]
    assert steps == pytest.approx(STEP_M, rel=0.05)
    for name in ("report.html", "trajectory.png", "depth.png"):
        assert (out / name).stat().st_size > 1000


def test_error_of_the_node_is_shown(
    sequence: Path, bundle: Path, repository: Path, tmp_path: Path
) -> None:
    spec = ModelSpec.load(bundle)
    (bundle / spec.pose_file).write_bytes((bundle / spec.depth_file).read_bytes())
    spec.save(bundle)
    done = run_demo(demo_command(sequence, bundle, tmp_path / "out"), repository)
    assert done.returncode == 1
    assert "the node ended with status 1" in done.stderr
    assert "pose.onnx follows another contract" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_results_and_stops_processes(
    sequence: Path, bundle: Path, repository: Path, tmp_path: Path
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    command = demo_command(sequence, bundle, out, "--rate", "0.2")
    environment = {**os.environ, "PYTHONPATH": str(repository), "TMPDIR": str(temporary)}
    demo = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a shell is started with SIGINT ignored, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while lines_of(temporary, "odometry.csv") < 3:
            assert demo.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        children = children_of(demo.pid)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(TIMEOUT_S) == 130
    finally:
        demo.kill()
    assert len(children) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert list(temporary.glob("sfm_*")) == []
    summary = summary_in(out)
    assert summary["interrupted"] is True and 2 <= summary["frames"] < FRAMES
    assert (out / "report.html").is_file()


def lines_of(folder: Path, name: str) -> int:
    return max((len(f.read_bytes().splitlines()) for f in folder.rglob(name)), default=0)


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "/nowhere"], "no /nowhere"),
        (["--bag", "a", "--video", "b"], "2 inputs are named"),
        (["--images", "{here}"], "images needs calib"),
        (["--model", "/no/such/model"], "no model '/no/such/model'"),
        (["--camera-height", "-1"], "--camera-height is -1.0"),
    ],
)
def test_wrong_command_line_is_one_line(
    arguments: list[str],
    message: str,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.format(here=tmp_path) for word in arguments]
    given = [] if "--model" in words else ["--model", str(bundle)]
    assert main([*words, *given, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.slow
def test_shipped_model_beats_the_straight_line(repository: Path, tmp_path: Path) -> None:
    if not MODELS.is_dir() or not any(MODELS.glob("*/model.yaml")):
        pytest.skip("no model is shipped with this checkout")
    command = [sys.executable, "-m", "sfm_ros.cli.demo", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    assert subprocess.run(command, env=environment, timeout=300).returncode == 0
    summary = summary_in(tmp_path)
    assert summary["frames_lost"] == 0
    assert summary["snippet_ate_mean"] < summary["straight_line_ate_mean"]
