"""sfm_evaluate compare: metrics and paths of runs side by side, differences marked."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pixels import bgr

from sfm_ros.cli.evaluate import main
from sfm_ros.evaluation.plotting import CYCLE
from sfm_ros.evaluation.report.compare import MARK
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_tum
from sfm_ros.geometry import se3_exp

SUMMARY = {
    "frames": 40,
    "ate_m": 1.5,
    "depth_abs_rel": None,
    "input": "drive.mcap",
    "ground_truth": "/ground_truth/odometry",
    "model": "road",
    "engine": "onnx on CPU",
    "configuration": {
        "odometry": {"mode": "hybrid"},
        "tracker": {"max_tracks": 600},
        "model": {"threads": 2},
    },
    "machine": {"cpu": "some", "cores": 2},
    "versions": {"numpy": "2.0"},
    "command": "sfm_evaluate bag drive.mcap",
}


def _path(turn: float, unit: float = 1.0) -> Trajectory:
    poses = [np.eye(4)]
    for _ in range(39):
        poses.append(poses[-1] @ se3_exp([0, 0, unit, 0, turn, 0]))
    return Trajectory(np.arange(40) * 100_000_000, np.stack(poses))


@pytest.fixture
def new_run(tmp_path):
    def make(name, path=None, ground_truth=None, **changes):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(SUMMARY | changes))
        if path is not None:
            write_tum(folder / "trajectory.tum", path)
        if ground_truth is not None:
            write_tum(folder / "ground_truth.tum", ground_truth)
        return str(folder)

    return make


def _rows(text: str) -> dict[str, list[str]]:
    """First cell of each line of the table -> the other cells."""
    lines = [line for line in text.splitlines() if "  " in line.strip()]
    cells = [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_differences_are_marked_and_equal_facts_omitted(new_run, tmp_path, capsys):
    other = {
        "odometry": {"mode": "network"},
        "tracker": {"max_tracks": 600},
        "model": {"threads": 2},
    }
    runs = [
        new_run("a", _path(0.02), _path(0.021)),
        new_run("b", _path(0.01), ate_m=2.25, model="mine", configuration=other),
    ]
    assert main(["compare", *runs, "--plot", str(tmp_path / "plot.png")]) == 0
    printed = capsys.readouterr().out
    rows = _rows(printed)
    assert rows["ATE RMSE, aligned"] == ["1.50 m", "2.25 m"]
    assert rows[f"{MARK} model"] == ["road", "mine"]
    assert rows[f"{MARK} odometry.mode"] == ["hybrid", "network"]
    assert rows["engine"] == ["onnx on CPU", "onnx on CPU"]
    assert "max_tracks" not in printed and "abs_rel" not in printed and "cpu" not in printed
    assert "cannot be compared" not in printed and str(tmp_path / "plot.png") in printed


def test_different_inputs_cannot_be_compared(new_run, tmp_path, capsys):
    runs = [new_run("x/run"), new_run("y/run", input="other.mcap")]
    assert main(["compare", *runs, "--plot", str(tmp_path / "plot.png")]) == 0
    printed = capsys.readouterr().out
    assert "cannot be compared" in printed and "x/run" in printed and "y/run" in printed
    assert "no image" in printed and not (tmp_path / "plot.png").exists()


def test_equal_runs_and_older_runs(new_run, tmp_path, capsys):
    assert main(["compare", new_run("a"), new_run("b"), "--plot", str(tmp_path / "p.png")]) == 0
    assert "made with the same model" in capsys.readouterr().out
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "summary.json").write_text('{"frames": 3, "ate_m": "unknown"}')
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "old")]) == 0
    rows = _rows(capsys.readouterr().out)
    assert rows["ATE RMSE, aligned"] == ["1.50 m", "–"]
    assert rows[f"{MARK} model"] == ["road", "–"]


def test_plot_shows_every_path(new_run, tmp_path, capsys):
    runs = [
        new_run("a", _path(0.02, unit=0.1), _path(0.021)),  # in network units
        new_run("b", _path(0.01)),
    ]
    for paths, ground_truth in ((runs, True), ([runs[1], new_run("c", _path(0.04))], False)):
        assert main(["compare", *paths, "--plot", str(tmp_path / "plot.png")]) == 0
        image = cv2.imread(str(tmp_path / "plot.png"))
        left = image[:, : image.shape[1] // 2] if ground_truth else image
        for color in CYCLE[:2]:
            assert np.count_nonzero((left == bgr(color)).all(axis=2)) > 100
    capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "there is no"), ("{", "cannot read"), ("[1]", "contains a list")],
)
def test_folder_without_a_run_is_refused(new_run, tmp_path, capsys, content, reason):
    (tmp_path / "b").mkdir()
    if content is not None:
        (tmp_path / "b" / "summary.json").write_text(content)
    assert main(["compare", new_run("a"), str(tmp_path / "b")]) == 1
    printed = capsys.readouterr()
    assert reason in printed.err and printed.out == ""


def test_damaged_trajectory_is_refused(new_run, tmp_path, capsys):
    run = new_run("a", _path(0.1))
    (tmp_path / "a" / "trajectory.tum").write_text("1 2 3\n")
    assert main(["compare", run, run]) == 1
    assert "3 columns" in capsys.readouterr().err


def test_single_run_is_refused(new_run):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", new_run("a")])
