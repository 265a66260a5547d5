"""``sfm_evaluate bag`` as a user runs it: small bags, networks whose output is constant."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import tilted_wall
from small_bags import SmallSequence, pose, stamp, write

from sfm_ros.bags.writer import write_bag
from sfm_ros.cli.evaluate import RENAMED, main
from sfm_ros.cli.evaluate_bag import add_command
from sfm_ros.evaluation.report.results import RESULT_FILES
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS
from sfm_ros.evaluation.runs.processes import ProcessError
from sfm_ros.formats.trajectory_files import read_trajectory

STEP = 0.7
FRAMES = 12
Words = tuple[str | Path, ...]


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    """Networks that estimate a step of 0.7 units and a turn per frame, before a tilted wall."""
    depth = tilted_wall()
    return make_bundle(depth, pose(1, step_m=STEP))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    write_bag(SmallSequence(FRAMES), tmp_path / "bag", tmp_path / "unused")
    return tmp_path / "bag"


def evaluate(*words: str | Path) -> int:
    return main(["bag", *map(str, words)])


@pytest.fixture
def networks(tmp_path: Path) -> Words:
    """Arguments for the motion of the networks alone: these images are too small to be tracked."""
    (tmp_path / "networks.yaml").write_text("odometry: {mode: network}\n")
    return "--config", tmp_path / "networks.yaml"


def json_in(out: Path, name: str) -> Any:
    return json.loads((out / name).read_text(), parse_constant=lambda n: pytest.fail(n))


def test_bag_is_scored_against_its_ground_truth(
    bag: Path, bundle: Path, networks: Words, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert evaluate(bag, *networks, "--model", bundle, "--out", out) == 0
    summary = json_in(out, "summary.json")
    assert set(SUMMARY_KEYS) <= set(summary)
    assert (summary["frames"], summary["frames_lost"]) == (FRAMES, 0)
    assert summary["ate_m"] == pytest.approx(0.0, abs=1e-5)
    assert summary["sim3_scale"] == pytest.approx(1.4 / STEP, rel=1e-5)
    assert summary["ground_truth"] == "/ground_truth/odometry"
    assert summary["configuration"]["model"]["threads"] == 2
    metrics = json_in(out, "metrics.json")
    assert metrics["odometry"]["ate_m"] == summary["ate_m"]
    assert metrics["odometry"]["t_err_percent"] is None, "the path is shorter than 100 m"
    assert metrics["depth_scaled_by_median"] is None
    tum = read_trajectory(out / "trajectory.tum")
    # The frames before the first motion are missing; each line starts with the index of its frame.
    kitti = read_trajectory(out / "trajectory_kitti.txt", [stamp(i) for i in range(FRAMES)])
    assert tum.poses == pytest.approx(kitti.poses, abs=1e-12)
    assert kitti.stamps_ns.tolist() == tum.stamps_ns.tolist()
    assert tum.stamps_ns.tolist() == [stamp(i) for i in range(2, FRAMES)]
    maps = sorted((out / "depth").glob("*.npy"))
    assert len(maps) == FRAMES - 2
    sixteen = cv2.imread(str(maps[0].with_suffix(".png")), cv2.IMREAD_UNCHANGED)
    assert sixteen is not None and sixteen.dtype == np.uint16
    assert sixteen / 256 == pytest.approx(np.load(maps[0]), abs=1 / 512)
    assert len((out / "timings.csv").read_text().splitlines()) == FRAMES + 1
    assert "no lidar" in (out / "report.html").read_text()


def test_two_runs_write_the_same_bytes(
    bag: Path, networks: Words, tmp_path: Path, repository: Path
) -> None:
    """The shipped model: warm in this process, cold in another, with other numbers of threads."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert evaluate(bag, *networks, "--out", first, "--threads", "2") == 0
    assert evaluate(bag, *networks, "--out", second, "--threads", "1") == 0
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "2"}
    elsewhere = shutil.copytree(bag, tmp_path / "elsewhere")
    command = [sys.executable, "-m", "sfm_ros.cli.evaluate", "bag", str(elsewhere)]
    done = subprocess.run(
        [*command, *map(str, networks), "--out", str(third)], env=environment, timeout=120
    )
    assert done.returncode == 0
    for name in RESULT_FILES:
        expected = (first / name).read_bytes()
        assert expected == (second / name).read_bytes(), name
        assert expected == (third / name).read_bytes(), name
    assert "health_frames" in json_in(first, "metrics.json")


def test_online_run_agrees_with_offline_run(
    bag: Path, bundle: Path, networks: Words, tmp_path: Path
) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    out = tmp_path / "out"
    assert evaluate(bag, *networks, "--model", bundle, "--online", "--out", out) == 0
    summary = json_in(out, "summary.json")
    assert summary["agreement"]["poses"] == FRAMES - 2
    assert summary["agreement"]["poses_of_only_one"] == 0
    assert summary["agreement"]["largest_difference"] < 1e-6
    assert summary["agreement"]["largest_difference_deg"] < 1e-6
    assert summary["online"]["frames_lost"] == 0
    assert "three processes" in (out / "report.html").read_text()


def test_modes_are_printed_and_the_height_is_used(
    bag: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images are small: the networks give motion, the keypoints may."""
    out = tmp_path / "out"
    words = ("--mode", "all", "--camera-height", "1.4", "--frames", "8", "--model", bundle)
    assert evaluate(bag, *words, "--out", out) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^network +7dof .* 2\.000$", printed, re.MULTILINE)
    assert re.search(r"^straight line +origin ", printed, re.MULTILINE)
    summary = json_in(out, "summary.json")
    assert {"network", "straight_line"} <= set(summary["odometry_modes"])
    assert summary["configuration"]["odometry"]["mode"] == "hybrid"
    assert summary["configuration"]["scale"]["camera_height"] == 1.4
    assert evaluate(bag, "--mode", "network", "--model", bundle, "--out", out) == 0
    summary = json_in(out, "summary.json")
    assert summary["configuration"]["odometry"]["mode"] == "network"
    assert summary["frames_lost"] == 0 and "odometry_modes" not in summary


def test_file_of_poses_replaces_the_ground_truth_in_the_bag(
    bag: Path, bundle: Path, networks: Words, tmp_path: Path
) -> None:
    rows = ["1 0 0 0 0 1 0 0 0 0 1 0\n"] * FRAMES
    (tmp_path / "poses.txt").write_text("".join(rows))
    out = tmp_path / "out"
    words = (*networks, "--model", bundle, "--out", out, "--poses")
    assert evaluate(bag, *words, tmp_path / "poses.txt") == 0
    assert json_in(out, "summary.json")["path_length_m"] == 0.0
    (tmp_path / "short.txt").write_text("1 0 0 0 0 1 0 0 0 0 1\n")
    assert evaluate(bag, *words, tmp_path / "short.txt") == 1


def test_images_without_ground_truth_are_not_scored(
    bundle: Path, networks: Words, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index, item in enumerate(SmallSequence(5)):
        cv2.imwrite(str(images / f"{index}.png"), item.frame.rgb)
    (tmp_path / "calib.txt").write_text("40 0 31.5 0 40 15.5 0 0 1\n")
    out = tmp_path / "out"
    words: list[str | Path] = [
        "--images",
        images,
        "--calib",
        tmp_path / "calib.txt",
        "--model",
        bundle,
    ]
    assert evaluate(*words, *networks, "--out", out) == 0
    summary = json_in(out, "summary.json")
    assert summary["ate_m"] is None and summary["path_length_m"] is None
    assert summary["estimated_path_length"] == pytest.approx(2 * STEP, rel=1e-5)
    assert (
        json_in(out, "metrics.json")["odometry_not_available"]
        == "no ground-truth poses were given"
    )


def test_ground_truth_that_is_not_finite_is_not_available(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sfm_ros.bags.messages import ground_truth_message

    messages = [("/gt", ground_truth_message(pose(i), stamp(i), "camera_optical"), stamp(i))
                for i in range(FRAMES)]  # fmt: skip
    messages[5][1].pose.pose.position.y = np.nan
    bag, out = write(tmp_path / "bag", messages, frames=FRAMES), tmp_path / "out"
    assert evaluate(bag, "--model", bundle, "--out", out) == 0
    assert "not available" in capsys.readouterr().out
    metrics = json_in(out, "metrics.json")
    assert metrics["odometry"] is None and "finite" in metrics["odometry_not_available"]
    assert evaluate(bag, "--model", bundle, "--out", out, "--pose-topic", "/gt") == 1
    assert "finite" in capsys.readouterr().err


def damaged(bag: Path, tmp_path: Path, kind: str) -> Path:
    """The bag, damaged."""
    if kind == "truncated":
        file = next(bag.glob("*.mcap"))
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        return bag
    if kind == "empty":
        return write(tmp_path / "empty", [], frames=0)
    (tmp_path / "text.mcap").write_text("no bag")
    return tmp_path / "text.mcap"


@pytest.mark.parametrize(
    ("kind", "message"),
    [("truncated", "damaged"), ("empty", "no image"), ("text", "cannot open the bag")],
)
def test_damaged_bag_is_one_line(
    bag: Path,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    message: str,
) -> None:
    out = tmp_path / "out"
    assert evaluate(damaged(bag, tmp_path, kind), "--model", bundle, "--out", out) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one input"),
        (["{bag}", "--synthetic"], "expected one input"),
        (["/no/where"], "there is no /no/where"),
        (["{bag}", "--image-topic", "/left"], "/left"),
        (["{bag}", "--pose-topic", "/left"], "on /left, found no such topic"),
        (["{bag}", "--depth-topic", "/left"], "on /left, found no such topic"),
        (["{bag}", "--ground-truth-frame", "mars"], "'mars'"),
        (["{bag}", "--ground-truth-frame", "a", "--pose-topic", "b"], "expected one"),
        (["--synthetic", "--depth-topic", "/left"], "--depth-topic is an option of a bag"),
        (["--images", "{bag}", "--bag", "{bag}"], "2 inputs are named (bag, images)"),
        (["{bag}", "--threads", "0"], "--threads is 0"),
        (["{bag}", "--frames", "0"], "--frames is 0"),
        (["{bag}", "--camera-height", "0"], "--camera-height is 0.0"),
        (["{bag}", "--speed-topic", "/left"], "on /left, found no such topic"),
        (["{bag}", "--speed-topic", "/left", "--online"], "offline run only"),
        (["--synthetic", "--speed-topic", "/left"], "--speed-topic is an option of a bag"),
        (["{bag}", "--config", "/no/where.yaml"], "/no/where.yaml"),
        (["{bag}", "--model", "/no/such/model"], "no model '/no/such/model'"),
    ],
)
def test_wrong_command_line_is_one_line(
    bag: Path,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    given = [word.format(bag=bag) for word in words]
    model = [] if "--model" in words else ["--model", str(bundle)]
    assert evaluate(*given, *model, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_file_is_not_overwritten(bag: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert evaluate(bag, "--model", bundle, "--out", tmp_path / "out") == 1
    assert (tmp_path / "out").read_text() == "mine"


def test_command_can_be_added_to_any_parser() -> None:
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    options = parser.parse_args(["bag", "x", "--out", "y", "--online"])
    assert options.online and callable(options.run)


def test_two_runs_of_kitti_write_the_same_bytes(shared_data: Path, tmp_path: Path) -> None:
    sequence = shared_data / "kitti_odom03_head"
    for name, threads in (("first", "1"), ("second", "2")):
        words = (sequence, "--frames", "25", "--threads", threads, "--out", tmp_path / name)
        assert evaluate(*words) == 0
    for name in RESULT_FILES:
        assert (tmp_path / "first" / name).read_bytes() == (
            tmp_path / "second" / name
        ).read_bytes()
    assert json_in(tmp_path / "first", "summary.json")["frames_lost"] == 0


def test_offline_results_survive_a_failed_node(
    bag: Path,
    bundle: Path,
    networks: Words,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise ProcessError("the node ended with status 1")

    monkeypatch.setattr("sfm_ros.evaluation.session.run_online", fail)
    words = (*networks, "--model", bundle, "--online", "--out", tmp_path / "out")
    assert evaluate(bag, *words) == 1
    assert "the node ended with status 1" in capsys.readouterr().err
    assert json_in(tmp_path / "out", "summary.json")["frames_lost"] == 0


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_renamed_option_is_refused_with_the_new_name(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for argument in (old, f"{old}=x"):
        with pytest.raises(SystemExit, match="2"):
            evaluate("any_bag", argument)
        assert f"{old} is now called {new}" in capsys.readouterr().err


def test_video_beside_another_input_is_written(
    bag: Path, bundle: Path, networks: Words, tmp_path: Path
) -> None:
    video, out = tmp_path / "depth.mp4", tmp_path / "out"
    given = (bag, *networks, "--model", bundle, "--out", out, "--video", video)
    assert evaluate(*given) == 0
    found = cv2.VideoCapture(str(video))
    assert found.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    methods = json_in(out, "summary.json")["depth_methods"]
    assert set(methods) == {"network", "multiview"}
    assert evaluate(*given) == 0  # it replaces its own


def test_video_that_was_recorded_is_not_replaced(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, out = tmp_path / "drive.mp4", tmp_path / "out"
    recording.write_bytes(b"recorded")
    assert evaluate(bag, "--video", recording, "--out", out) == 1
    error = capsys.readouterr().err
    assert str(recording) in error and "--video alone" in error
    assert recording.read_bytes() == b"recorded" and not out.exists()
