"""Every program that takes an output folder, with tiny runs: its own claim, short work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import tilted_wall, write_bundle
from small_bags import pose

from sfm_ros.cli import demo, evaluate, evaluate_bag, kitti_to_bag
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.errors import OutputError
from sfm_ros.evaluation import session
from sfm_ros.evaluation.runs.recording import RecordingWriter
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_tum
from writers.trees import fill

_K = "20 0 12 0 20 8 0 0 1\n"
_CALIB = "P0: 20 0 12 0 0 20 8 0 0 0 1 0\nP2: 20 0 12 0 0 20 8 0 0 0 1 0\n"
_RECIPE = "width: 64\nheight: 64\ndata: {{prepared: ['{prepared}']}}\noptim: {{steps: 1}}\n"


@dataclass(frozen=True)
class Program:
    """A program and how to run it.

    Attributes:
        marker: its name in markers; empty if it writes none.
        names: of files that it writes, or that look like those.
        run: called with the output folder and the folder of `make_inputs`; 0 or 1.
        inputs: where in that folder the inputs are.
    """

    marker: str
    names: tuple[str, ...]
    run: Callable[[Path, Path], int]
    inputs: tuple[str, ...]


def make_inputs(folder: Path) -> Path:
    """Images, a KITTI sequence, a model, a set and a run, each as small as possible."""
    for images in (folder / "images", folder / "kitti" / "image_2"):
        images.mkdir(parents=True)
        for index in range(2):
            pixels = np.random.default_rng(index).integers(0, 256, (16, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(images / f"{index:06d}.png"), pixels)
    files = {
        "K.txt": _K,
        "kitti/calib.txt": _CALIB,
        "kitti/times.txt": "0.0\n0.1\n",
        "recipe.yaml": _RECIPE.format(prepared=folder / "set"),
        "set/frames.u8": "frames",
        "run/last.pt": "checkpoint",
        "run/history.csv": "step,name,value\n",
    }
    fill(folder, files)
    poses = np.stack([pose(index) for index in range(2)])
    write_tum(folder / "poses.tum", Trajectory(np.arange(2) * 100_000_000, poses))
    depth = tilted_wall()
    write_bundle(folder / "bundle", depth, pose(1, step_m=0.7))
    return folder


def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Program]:
    """The programs by name, with what takes long replaced by writing a few files."""
    _shorten_evaluation(monkeypatch)
    found = {
        "evaluate": Program(
            session.PROGRAM,
            ("summary.json", "metrics.json", "report.html", "depth/1.png", "trajectory.tum",
             "ground_poses.tum", "timings.csv", "depth/mine.png", "depth.png", "bag/bag.mcap"),
            _evaluate,
            ("images", "K.txt", "poses.tum", "bundle"),
        ),
        "demo --keep-bag": Program(
            session.PROGRAM,
            ("summary.json", "bag/bag.mcap", "bag/metadata.yaml", "depth/1.png", "overview.png"),
            _demo,
            ("images", "K.txt", "poses.tum", "bundle"),
        ),
        "kitti_to_bag": Program(
            "sfm_kitti_to_bag",
            ("out_0.mcap", "out_1.mcap", "metadata.yaml.new", ".unfinished/mine",
             ".unfinished/out_0/out_0.mcap", ".unfinished/out_0/mine"),
            _kitti_to_bag,
            ("kitti",),
        ),
        "run_recorder": Program(
            "", ("images.csv", "odometry.csv", "image_5.npy"), _record, ()
        ),
    }  # fmt: skip
    return found | _training_programs(monkeypatch)


def _training_programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Program]:
    pytest.importorskip("torch", reason="torch is not installed")
    from training import export, prepare, train

    _shorten_export(monkeypatch, export)
    _shorten_training(monkeypatch, train)

    def prepared(out: Path, data: Path) -> int:
        words = ["folder", str(out), "--images", str(data / "images"), "--no-report"]
        more = ["--calib", str(data / "K.txt"), "--width", "16", "--height", "16"]
        return prepare.main([*words, *more])

    def trained(out: Path, data: Path) -> int:
        return train.main(["--config", str(data / "recipe.yaml"), "--out", str(out)])

    def exported(out: Path, data: Path) -> int:
        return export.main(["--checkpoint", str(data / "run/last.pt"), "--out", str(out)])

    return {
        "prepare": Program(
            "prepare.py",
            ("frames.u8", "depth.f16", "index.json", "index.partial.json", "index.open.json",
             "index.json.tmp", "parts/a/frames.u8", "parts/a/mine", "report.txt"),
            prepared,
            ("images", "K.txt"),
        ),
        "train": Program(
            "train.py",
            ("last.pt", "best.pt", "history.csv", "last.pt.tmp", "tensorboard/mine"),
            trained,
            ("recipe.yaml", "set"),
        ),
        "export": Program(
            "export.py", ("depth.onnx", "pose.onnx", "model.yaml"), exported, ("run",)
        ),
    }  # fmt: skip


def _input_words(out: Path, data: Path) -> list[str]:
    words = ["--images", data / "images", "--calib", data / "K.txt", "--poses", data / "poses.tum"]
    return [str(word) for word in [*words, "--model", data / "bundle", "--out", out]]


def _evaluate(out: Path, data: Path) -> int:
    return evaluate.main(["bag", *_input_words(out, data)])


def _demo(out: Path, data: Path) -> int:
    return demo.main(["--keep-bag", *_input_words(out, data)])


def _kitti_to_bag(out: Path, data: Path) -> int:
    return kitti_to_bag.main([str(data / "kitti"), str(out), "--part-frames", "1"])


def _record(out: Path, _: Path) -> int:
    try:
        RecordingWriter(out).close()
    except OutputError:
        return 1
    return 0


def _shorten_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("summary.json", "metrics.json", "report.html", "depth/1.png")

    def run(input: Any, *_: Any) -> Any:
        options, out = _[-2:]
        if options.keep_bag:
            fill(out, {"bag/bag.mcap": "new", "bag/metadata.yaml": "new"})
        return [], None, input

    def write(*given: Any) -> Any:
        fill(given[-2], dict.fromkeys(names, "new"))
        return SimpleNamespace(summary={"frames_unreadable": 0}, runs=())

    monkeypatch.setattr(session, "_run", run)
    monkeypatch.setattr(session, "_write", write)
    for module in (evaluate_bag, demo):
        monkeypatch.setattr(module, "print_results", lambda *_: None)


def _shorten_export(monkeypatch: pytest.MonkeyPatch, export: Any) -> None:
    def write(_: Any, spec: Any, bundle: Path) -> None:
        fill(bundle, dict.fromkeys((spec.depth_file, spec.pose_file), "new"))

    model = SimpleNamespace(pose_net="there is one")
    monkeypatch.setattr(export, "restored_model", lambda _: (model, None, 1))
    monkeypatch.setattr(export, "deployed_copy", lambda model: model)
    monkeypatch.setattr(export, "spec_of", lambda *_: fake_spec())
    monkeypatch.setattr(export, "learned_fx", lambda *_: 60.0)
    monkeypatch.setattr(export, "_size", lambda _: 0)
    monkeypatch.setattr(export, "_write_graphs", write)
    monkeypatch.setattr(export, "check_parity", lambda *_: None)


def _shorten_training(monkeypatch: pytest.MonkeyPatch, train: Any) -> None:
    def build(options: Any) -> Any:
        def run() -> bool:
            names = ("last.pt", "history.csv", "tensorboard/events.1")
            fill(options.out, dict.fromkeys(names, "new"))
            return True

        model = SimpleNamespace(parameters=lambda: [])
        return SimpleNamespace(run=run, model=model, out=options.out, step_count=1)

    monkeypatch.setattr(train, "build", build)
    monkeypatch.setattr(train, "_stop_on_signals", lambda _: None)
