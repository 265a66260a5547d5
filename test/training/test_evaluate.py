"""Checkpoints scored by the protocols of the run time, and the figures of the reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from prepared_sets import Frames, write_set

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import window_increments
from sfm_ros.window import Window
from training import evaluate_depth, evaluate_pose, plot
from training.config import load_config, to_dict
from training.data.sequence import PreparedSet
from training.export import build_untrained
from training.fit.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.fit.run_log import RunLog
from training.torch_engine import TorchEngine

CONFIG = {
    "width": 64,
    "height": 64,
    "network": {"depth": "lite", "pretrained": False, "scales": 1, "sequence_length": 3},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fast on a busy machine; and the commands set the number of threads of the process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose moving average differs from its weights."""
    torch.manual_seed(5)
    config = load_config(CONFIG)
    averaged = build_untrained(config).state_dict()
    torch.manual_seed(6)
    path = tmp_path_factory.mktemp("run") / "last.pt"
    save_checkpoint(
        path,
        {
            "config": to_dict(config),
            "model": build_untrained(config).state_dict(),
            "average": averaged,
            "optimizer": None,
            "step": 12,
            "best": None,
            "torch_rng": torch.get_rng_state(),
        },
    )
    return path


def test_checkpoint_gives_the_output_of_its_averaged_model(checkpoint: Path) -> None:
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2))
    camera = CameraIntrinsics(width=64, height=64, fx=50.0, fy=50.0, cx=31.5, cy=31.5)
    engine = TorchEngine(checkpoint)
    found = engine.infer(Window(images=images, stamps_ns=(0, 1), intrinsics=camera))

    contents = load_checkpoint(checkpoint)
    model = build_untrained(load_config(contents["config"]))
    model.load_state_dict(contents["average"])
    model.eval()
    # A network of pairs gives the same motion for a pair in any window.
    older, newer = (torch.from_numpy(i).permute(2, 0, 1)[None] / 255 for i in images)
    with torch.inference_mode():
        depth = model.depth(newer)[0, 0].numpy()
        T_source_target = model.motion(torch.stack([older, newer, newer], dim=1))[0].numpy()
    np.testing.assert_allclose(found.depth, depth, rtol=1e-4)
    expected = window_increments(T_source_target[:1], engine.spec)
    np.testing.assert_allclose(found.increments, expected, atol=1e-5)
    assert engine.spec.sequence_length == 2 and engine.spec.name.endswith("last.pt, step 12")


def test_unusable_checkpoints_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    contents = load_checkpoint(checkpoint)
    contents["average"].popitem()
    save_checkpoint(tmp_path / "a.pt", contents)
    with pytest.raises(CheckpointError, match="do not fit its recipe"):
        TorchEngine(tmp_path / "a.pt")
    with pytest.raises(EngineError, match="device 'abacus'"):
        TorchEngine(checkpoint, "abacus")


def test_depth_of_a_prepared_set(
    checkpoint: Path, wall_set: PreparedSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d.json"
    model = ["--checkpoint", str(checkpoint), "--threads", "1"]
    command = [*model, "--prepared", str(wall_set.path), "--limit", "4", "--json", str(out)]
    assert evaluate_depth.main(command) == 0
    values = json.loads(out.read_text())
    assert values["images"] == 4 and values["points"] == 4 * 64 * 64
    assert values["baselines"]["row_median_depth"]["abs_rel"] < 0.3
    assert (
        values["unscaled"]["abs_rel"] != values["abs_rel"]
        and "unscaled" in capsys.readouterr().out
    )
    sample = evaluate_depth.prepared_set(wall_set.path).samples[41]
    assert (sample.drive, sample.name) == ("recording1", "recording1 1")
    assert sample.frame().intrinsics.fx == pytest.approx(0.8 * 64)
    np.testing.assert_array_equal(sample.ground_truth(), np.float32(wall_set.depth_m[41]))
    capsys.readouterr()
    for wrong, reason in (
        (["--prepared", str(tmp_path)], "not a prepared set"),
        (["--prepared", str(wall_set.path), "--synthetic", "1"], "--prepared is given together"),
        ([], "0 kinds of images"),
    ):
        assert evaluate_depth.main([*model, *wrong]) == 1
        assert reason in capsys.readouterr().err


def test_set_without_depth_is_refused(
    wall_frames: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path, wall_frames(4, ground_truth=False))
    assert evaluate_depth.main(["--prepared", str(tmp_path)]) == 1
    assert "has ground-truth depth" in capsys.readouterr().err


@pytest.fixture
def sequence(tmp_path: Path, wall_frames: Frames) -> Path:
    """A KITTI odometry sequence along the wall."""
    folder = tmp_path / "seq"
    (folder / "image_2").mkdir(parents=True)
    poses = []
    for index, frame in enumerate(wall_frames(12)):
        cv2.imwrite(str(folder / "image_2" / f"{index:06d}.png"), frame.rgb[..., ::-1])
        poses.append(" ".join(map(str, frame.T_world_camera[:3].ravel())))
    fx, fy, cx, cy = frame.K
    (folder / "calib.txt").write_text(f"P2: {fx} 0 {cx} 0 0 {fy} {cy} 0 0 0 1 0\n")
    (folder / "poses.txt").write_text("\n".join(poses))
    return folder


def test_motion_of_a_sequence(
    checkpoint: Path, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.json"
    model = ["--checkpoint", str(checkpoint), "--threads", "1", "--kitti", str(sequence)]
    assert evaluate_pose.main([*model, "--frames", "2-9", "--json", str(out)]) == 0
    (values,) = json.loads(out.read_text())
    assert values["drive"].endswith("frames 2 to 9")
    for name in ("networks_alone", "hybrid", "straight_line", "mean_motion"):
        assert values[name]["metrics"]["pair_count"] == 8
        assert values[name]["metrics"]["snippet_ates"]["5"]["count"] == 4
    text = capsys.readouterr().out
    assert "8 frames" in text and "yaw corr" in text and str(out) in text
    for wrong, reason in (
        (["--frames", "2:9"], "expected FIRST-LAST"),
        (["--frames", "2-12"], "has 0 to 11"),
        (["--camera", "3"], "has no camera 3"),
    ):
        assert evaluate_pose.main([*model, *wrong]) == 1
        assert reason in capsys.readouterr().err


def test_depth_side_by_side(
    checkpoint: Path, sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(sequence / "image_2" / f"{i:06d}.png") for i in range(2)]
    out = tmp_path / "depth.png"
    command = ["depth", *images, "--out", str(out), "--models", str(checkpoint), str(checkpoint)]
    assert plot.main([*command, "--labels", "first", "second"]) == 0
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] > 2.5 * drawn.shape[0] / 2  # three columns, two rows
    assert plot.main([*command, "--labels", "first"]) == 1
    assert "expected 2" in capsys.readouterr().err


def test_blank_map_looks_blank(tmp_path: Path) -> None:
    flat, ramp = np.full((20, 30), 3.0), np.repeat(1.0 / np.arange(1.0, 31.0)[None], 20, axis=0)
    plot.draw_depth([np.zeros((20, 30, 3), np.uint8)], [("flat", [flat]), ("ramp", [ramp])],
                    tmp_path / "d.png")  # fmt: skip
    drawn = cv2.imread(str(tmp_path / "d.png")).astype(float)
    third = drawn.shape[1] // 3
    body = drawn[drawn.shape[0] // 3 : -20]
    assert body[:, third + 30 : 2 * third - 30].std(axis=(0, 1)).max() < 1.0
    assert body[:, 2 * third + 30 : -30].std(axis=(0, 1)).max() > 30.0


def test_curves_of_runs_of_this_and_of_other_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ours", "theirs"):
        log = RunLog(tmp_path / name)
        for step in range(5):
            log.scalars(step, {"loss/total": 1.0 / (1 + step)})
        log.close()
    (tmp_path / "theirs" / "history.csv").unlink()
    curves = plot.read_run(tmp_path / "theirs")
    steps, values = curves["loss/total"]
    assert steps.tolist() == [0, 1, 2, 3, 4] and values == pytest.approx(1 / (1 + np.arange(5)))
    out = tmp_path / "c.png"
    runs = [str(tmp_path / "ours"), str(tmp_path / "theirs")]
    assert plot.main(["curves", *runs, "--out", str(out)]) == 0 and out.is_file()
    assert plot.main(["curves", *runs, "--names", "loss/none"]) == 1
    assert plot.main(["curves", *runs, "--smoothing", "1"]) == 1
    error = capsys.readouterr().err
    assert "has none of ['loss/none']; it has loss/total" in error and "below 1" in error
