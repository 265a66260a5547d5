"""sfm_evaluate trajectory: published scores, formats, pairing, and rejected inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pixels import bgr
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.messages import ground_truth_message
from sfm_ros.bags.writer import BagTopics
from sfm_ros.cli.evaluate import main
from sfm_ros.evaluation.plotting import ESTIMATE_COLOR
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_kitti, write_tum
from sfm_ros.geometry import se3_exp

KEYS = [
    "alignment",
    "t_err_percent",
    "r_err_deg_per_100m",
    "ate_m",
    "rpe_m",
    "rpe_deg",
    "snippet_ate_mean",
    "snippet_ate_std",
    "straight_line_ate_mean",
    "straight_line_ate_std",
]
NS = 10**9


def _trajectory(count: int = 60, seed: int = 0, step: float = 1.0) -> Trajectory:
    """A winding trajectory at 10 Hz that starts at the identity."""
    random = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for _ in range(count - 1):
        poses.append(
            poses[-1] @ se3_exp([*random.normal(0, 0.05, 2), step, 0, random.normal(0, 0.03), 0])
        )
    return Trajectory(np.arange(count) * (NS // 10) + NS, np.stack(poses))


def _write_bag(folder: Path, trajectory: Trajectory, order: np.ndarray | None = None) -> Path:
    """Poses on /pose and /other, recorded in the order of their stamps or in ``order``."""
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        stamps = trajectory.stamps_ns if order is None else trajectory.stamps_ns[order]
        for log_ns, stamp, pose in zip(
            trajectory.stamps_ns, stamps, trajectory.poses, strict=True
        ):
            for topic in ("/pose", "/other"):
                message = ground_truth_message(pose, int(stamp), "camera_optical")
                topics.add(topic, message, int(log_ns))
    return folder


def _score(tmp_path: Path, *arguments: object) -> dict:
    out = tmp_path / "scores.json"
    assert main(["trajectory", *map(str, arguments), "--json", str(out)]) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    ("name", "ground_truth", "alignment", "expected"),
    [
        ("example_0_09", "gt_09", "7dof", "2.884113 0.249056 8.386619 0.343413 0.063389"),
        ("example_1_09", "gt_09", "6dof", "2.6068 0.2877 10.8803 0.0557 0.0370"),
        ("KITTI_00_ORB", "KITTI_00_gt", "se3", "0.6997 0.2533 1.303450"),
        ("KITTI_00_ORB", "KITTI_00_gt", "sim3", "- - 0.937709"),
        ("freiburg1_xyz-ORB_kf_mono", "freiburg1_xyz-groundtruth", "sim3", "- - 0.009755"),
    ],
)
def test_published_scores(shared_data, tmp_path, name, ground_truth, alignment, expected):
    """To the last published digit."""
    folder = shared_data / "oracle_odometry"
    found = _score(
        tmp_path, folder / f"{ground_truth}.txt", folder / f"{name}.txt", "--align", alignment
    )
    assert list(found)[: len(KEYS)] == KEYS
    assert found["pairs"] == {"freiburg1_xyz-ORB_kf_mono": 32, "example_0_09": 1589}.get(
        name, found["ground_truth_poses"]
    )
    for key, published in zip(KEYS[1:], expected.split(), strict=False):
        if published != "-":
            decimals = len(published.partition(".")[2])
            assert f"{found[key]:.{decimals}f}" == published, key


@pytest.mark.parametrize(
    ("name", "ate"), [("example_0_09", (0.1087, 0.1240)), ("example_1_09", (0.0142, 0.0077))]
)
def test_published_snippets_and_baselines(shared_data, tmp_path, name, ate):
    folder = shared_data / "oracle_odometry"
    found = _score(tmp_path, folder / "gt_09.txt", folder / f"{name}.txt")
    assert (round(found["snippet_ate_mean"], 4), round(found["snippet_ate_std"], 4)) == ate
    if name == "example_1_09":  # frames are missing in the other one, and in its baselines
        means = [
            round(found[f"{baseline}_ate_mean"], 4)
            for baseline in ("straight_line", "mean_motion")
        ]
        stds = [
            round(found[f"{baseline}_ate_std"], 4) for baseline in ("straight_line", "mean_motion")
        ]
        assert (means, stds) == ([0.0419, 0.0324], [0.0223, 0.0258])
    assert found["snippets"].keys() == {"5", "3"}
    assert found["baselines"]["straight_line"]["ate_m"] > 10 * found["ate_m"]


@pytest.mark.parametrize("kinds", [("tum", "kitti"), ("bag", "tum"), ("kitti", "bag")])
def test_all_formats_give_equal_metrics(tmp_path, kinds):
    ground_truth, estimate = _trajectory(), _trajectory(seed=1)
    expected = None
    for kind in ("same", kinds):
        names = []
        for which, trajectory in (("ground_truth", ground_truth), ("estimate", estimate)):
            form = "tum" if kind == "same" else kinds[len(names)]
            path = tmp_path / f"{which}_{form}"
            if form == "tum":
                write_tum(path, trajectory)
            elif form == "kitti":
                write_kitti(path, trajectory)
            elif not path.exists():
                _write_bag(path, trajectory)
            names.append(f"{path}:/pose" if form == "bag" else str(path))
        times = tmp_path / "times.txt"
        times.write_text("".join(f"{stamp / NS:.9f}\n" for stamp in ground_truth.stamps_ns))
        found = _score(tmp_path, *names, "--times", times)
        figures = [found[key] for key in KEYS[1:]]
        if expected is None:
            expected = figures
        assert figures[0] is None and figures == pytest.approx(expected, abs=1e-8)


def test_body_axes_can_be_kept(tmp_path):
    """Only the axes of the straight line baseline depend on the axes of the poses."""
    bags = [
        f"{_write_bag(tmp_path / name, _trajectory(seed=seed))}:/pose"
        for name, seed in (("a", 0), ("b", 1))
    ]
    optical, body = _score(tmp_path, *bags), _score(tmp_path, *bags, "--keep-axes")
    assert [body[key] for key in KEYS[1:]] == pytest.approx([optical[key] for key in KEYS[1:]])


def test_pairing_by_stamp_is_reported(tmp_path, capsys):
    ground_truth = _trajectory()
    estimate = Trajectory(ground_truth.stamps_ns[5:40:2] + 4_000_000, ground_truth.poses[5:40:2])
    write_tum(tmp_path / "ground_truth.tum", ground_truth)
    write_tum(tmp_path / "estimate.tum", estimate)
    files = (tmp_path / "ground_truth.tum", tmp_path / "estimate.tum")
    found = _score(tmp_path, *files, "--align", "none")
    assert (found["pairs"], found["ground_truth_poses"], found["estimate_poses"]) == (18, 60, 18)
    assert found["associated_by"] == "stamp" and found["ate_m"] == pytest.approx(0, abs=1e-12)
    assert found["largest_difference_s"] == pytest.approx(0.004)
    assert "18 poses by stamp, at most 4.000 ms apart" in capsys.readouterr().out
    assert main(["trajectory", *map(str, files), "--max-difference", "0.003"]) == 1
    assert "are they on the same clock?" in capsys.readouterr().err


def test_missing_frames_interrupt_snippets(tmp_path):
    ground_truth = _trajectory()
    write_kitti(tmp_path / "ground_truth.txt", ground_truth)
    kept = [index for index in range(60) if index not in (20, 21, 40)]
    lines = (tmp_path / "ground_truth.txt").read_text().splitlines()
    (tmp_path / "incomplete.txt").write_text("".join(f"{i} {lines[i]}\n" for i in kept))
    found = _score(tmp_path, tmp_path / "ground_truth.txt", tmp_path / "incomplete.txt")
    assert found["associated_by"] == "index" and found["largest_difference_s"] is None
    # Runs of 20, 18 and 19 frames contain 16, 14 and 15 snippets of five.
    assert found["snippets"]["5"]["count"] == 16 + 14 + 15
    assert found["snippet_ate_mean"] == pytest.approx(0, abs=1e-9)


def test_a_wrong_scale_is_in_the_first_figures(tmp_path, capsys):
    ground_truth = _trajectory(count=300)
    poses = ground_truth.poses.copy()
    poses[:, :3, 3] *= 0.5
    write_tum(tmp_path / "gt.tum", ground_truth)
    write_tum(tmp_path / "half.tum", Trajectory(ground_truth.stamps_ns, poses))
    found = _score(tmp_path, tmp_path / "gt.tum", tmp_path / "half.tum")
    assert found["t_err_percent"] < 0.01, "after the default alignment nothing is wrong"
    unaligned = found["unaligned"]
    assert unaligned["scale_error_percent"] == pytest.approx(-50, abs=0.01)
    assert 40 < unaligned["t_err_percent"] < 51
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("unaligned"))
    assert "scale error -50.0 %" in line and unaligned["remark"] in line
    assert printed.index("unaligned ") < printed.index("aligned       7dof")


def test_plot_shows_the_estimate(tmp_path):
    write_tum(tmp_path / "ground_truth.tum", _trajectory(300))
    write_tum(tmp_path / "estimate.tum", _trajectory(300, seed=2))
    arguments = [str(tmp_path / "ground_truth.tum"), str(tmp_path / "estimate.tum")]
    assert main(["trajectory", *arguments, "--plot", str(tmp_path / "plot.png")]) == 0
    image = cv2.imread(str(tmp_path / "plot.png"))
    drawn = (image == bgr(ESTIMATE_COLOR)).all(axis=2)
    path, errors = np.hsplit(drawn, [drawn.shape[1] // 2])
    assert min(np.count_nonzero(path), np.count_nonzero(errors)) > 200


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_plot_is_reproducible(tmp_path, kind):
    write_tum(tmp_path / "ground_truth.tum", _trajectory(300))
    write_tum(tmp_path / "estimate.tum", _trajectory(300, seed=2))
    arguments = [str(tmp_path / "ground_truth.tum"), str(tmp_path / "estimate.tum")]
    files = [tmp_path / f"{name}.{kind}" for name in ("first", "second")]
    for file in files:
        assert main(["trajectory", *arguments, "--plot", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_short_path_has_no_segments(tmp_path, capsys):
    write_tum(tmp_path / "ground_truth.tum", _trajectory(60))
    found = _score(tmp_path, tmp_path / "ground_truth.tum", tmp_path / "ground_truth.tum")
    assert found["t_err_percent"] is None and found["r_err_deg_per_100m"] is None
    assert found["segments"] == {} and found["baselines"]["mean_motion"]["t_err_percent"] is None
    assert "not applicable: the path of 59" in capsys.readouterr().out.replace("\n", " ")


def test_three_poses_have_no_five_frame_snippet(tmp_path):
    write_tum(tmp_path / "ground_truth.tum", _trajectory(3))
    found = _score(tmp_path, tmp_path / "ground_truth.tum", tmp_path / "ground_truth.tum")
    assert found["snippet_ate_mean"] is None and found["straight_line_ate_std"] is None
    assert found["snippets"]["3"]["count"] == 1


def _tum(count: int, start: float = 1.0) -> str:
    return "".join(f"{start + 0.1 * i:.3f} 0 0 {i} 0 0 0 1\n" for i in range(count))


def _kitti(count: int) -> str:
    return "".join(f"1 0 0 0 0 1 0 0 0 0 1 {i}\n" for i in range(count))


BAD = {
    "unequal lengths": (_kitti(9), _kitti(8), "has 8 poses, the ground truth 9"),
    "no frame in common": (
        _kitti(4),
        "".join(f"{i + 7} {line}\n" for i, line in enumerate(_kitti(4).splitlines())),
        "have 0 frames in common",
    ),
    "unordered frames": (
        _kitti(4),
        "".join(f"{i} {_kitti(1)}" for i in (0, 2, 1)),
        "line 3: frame 1 is not later than the one before, 2",
    ),
    "half a frame": (_kitti(4), f"0.5 {_kitti(1)}", "the index is 0.5, expected the whole number"),
    "unordered stamps": (_tum(5), _tum(3) + _tum(2), "not later than the one before"),
    "stamp twice": (_tum(3) + _tum(1, start=1.2), _tum(5), "not later than the one before"),
    "NaN position": (_tum(5), _tum(5).replace(" 3 ", " nan "), "line 4: a number is not finite"),
    "infinite rotation": (_kitti(5).replace("1 0 0 0 0", "inf 0 0 0 0"), _kitti(5), "not finite"),
    "zero quaternion": (_tum(5), _tum(5).replace("0 0 0 1", "0 0 0 0"), "quaternion is zero"),
    "no rotation": (_kitti(5), _kitti(5).replace("1 0 0 0 0 1", "2 0 0 0 0 1"), "not a rotation"),
    "one pose": (_tum(5), _tum(1), "1 pose, expected at least 2"),
    "one pose in common": (_tum(5), _tum(5, start=1.4), "only one pose"),
    "no pose": (_tum(5), "# nothing\n", "holds no pose"),
    "empty": ("", _tum(5), "holds no pose"),
    "seven columns": (_tum(5), _tum(5).replace(" 1\n", "\n"), "7 columns"),
    "columns change": (_kitti(5), _kitti(4) + "4 " + _kitti(1), "13 columns, expected 12"),
    "TUM with a short line": (_tum(5), _tum(4) + "1.4 0 0\n", "3 columns, expected the 8"),
    "text": (_tum(5), "a path\n" + _tum(5), "line 1: neither numbers nor a header: a path"),
    "no overlap in time": (_tum(5), _tum(5, start=900.0), "are they on the same clock?"),
    "only one has times": (_tum(5), _kitti(5), "no times to pair poses by"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_a_reason(tmp_path, capsys, case):
    ground_truth, estimate, reason = BAD[case]
    (tmp_path / "ground_truth.txt").write_text(ground_truth)
    (tmp_path / "estimate.txt").write_text(estimate)
    files = [str(tmp_path / "ground_truth.txt"), str(tmp_path / "estimate.txt")]
    assert main(["trajectory", *files, "--json", str(tmp_path / "out.json")]) == 1
    printed = capsys.readouterr()
    assert reason in printed.err and printed.err.startswith("sfm_evaluate: ERROR: ")
    assert printed.out == "" and not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("kept", [0.0, 0.4, 0.97])
def test_truncated_bag(tmp_path, capsys, kept):
    bag = _write_bag(tmp_path / "bag", _trajectory())
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    assert main(["trajectory", f"{bag}:/pose", f"{bag}:/pose"]) == 1
    printed = capsys.readouterr()
    assert "bag" in printed.err and "ERROR" in printed.err and printed.out == ""


def test_bag_with_a_non_finite_pose(tmp_path, capsys):
    poses = np.array(_trajectory(5).poses)
    message = ground_truth_message(poses[3], 0, "camera_optical")
    message.pose.pose.position.y = float("nan")
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        topics.add("/pose", ground_truth_message(poses[2], 0, "camera_optical"), 1)
        topics.add("/pose", message, 2)
    assert main(["trajectory", f"{tmp_path / 'bag'}:/pose", f"{tmp_path / 'bag'}:/pose"]) == 1
    assert "expected a rotation and finite coordinates" in capsys.readouterr().err


def test_bag_with_unordered_stamps_or_missing_topic(tmp_path, capsys):
    order = np.arange(60)
    order[[10, 11]] = [11, 10]
    bag = _write_bag(tmp_path / "bag", _trajectory(), order)
    for topic, reason in (
        (":/pose", "not later than the one before"),
        (":/nothing", "has /other, /pose, and /nothing is not among them"),
        ("", "no topic is named"),
    ):
        assert main(["trajectory", f"{bag}{topic}", f"{bag}{topic}"]) == 1
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--align", "8dof"], ["--max-difference", "-1"], ["--max-difference", "nan"], ["--fps", "0"],
     ["--plot", "image.xyz"], ["--fps", "10", "--times", "t"]],
)  # fmt: skip
def test_wrong_options_are_refused(tmp_path, arguments):
    write_tum(tmp_path / "a", _trajectory())
    with pytest.raises(SystemExit, match="2"):
        main(["trajectory", str(tmp_path / "a"), str(tmp_path / "a"), *arguments])


def test_unwritable_output_is_an_error(tmp_path, capsys):
    write_tum(tmp_path / "a", _trajectory())
    files = [str(tmp_path / "a"), str(tmp_path / "a")]
    for option, name in (("--json", "x.json"), ("--plot", "x.png")):
        assert main(["trajectory", *files, option, str(tmp_path / "none" / name)]) == 1
        assert "No such file or directory" in capsys.readouterr().err


def test_as_a_program(tmp_path, repository):
    """Exit status and one line on stderr, without a traceback."""
    (tmp_path / "a").write_text(_tum(5).replace(" 3 ", " nan "))
    ended = subprocess.run(
        [sys.executable, "-m", "sfm_ros.cli.evaluate", "trajectory", "a", "gone"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and "not finite" in ended.stderr
