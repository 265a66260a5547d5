"""Writers that a test kills: whole programs over small inputs.

As a script, ``NAME OUT DATA STARTED``, it runs one of them again and again, each turn with other
results if it replaces them, and makes the file STARTED when its imports are done.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

import pytest
from small_bags import SmallSequence

from sfm_ros.bags.writer import write_bag
from sfm_ros.cli import evaluate, kitti_to_bag
from writers.programs import make_inputs, programs
from writers.trees import fill

FRAMES = (4, 6)
"""Frames that are evaluated in even and odd turns."""
TRAINING = ("prepare", "train", "export")
IN_TURN = "prepare in turn"
"""Prepares in one process."""
WRITERS = ("evaluate", "kitti_to_bag", *TRAINING)


def make_data(folder: Path) -> Path:
    """The inputs of all writers."""
    make_inputs(folder)
    write_bag(SmallSequence(max(FRAMES)), folder / "bag", folder / "unused")
    try:
        from prepared_sets import write_set
        from training_runs import RECIPE
        from wall import wall_frames
    except ImportError:  # no torch: no writers that need it
        return folder
    write_set(folder / "wall", wall_frames(12))
    fill(folder, {"wall.yaml": RECIPE.format(prepared=folder / "wall")})
    return folder


def run(name: str, out: Path, data: Path, turn: int = 0) -> int:
    """Run a writer once; its exit code."""
    if name in (*TRAINING, IN_TURN):
        return _run_training(name, out, data)
    if name == "kitti_to_bag":
        return kitti_to_bag.main([str(data / "kitti"), str(out), "--part-frames", "1"])
    words = [data / "bag", "--model", data / "bundle", "--out", out, "--frames", FRAMES[turn % 2]]
    # The images are too small to be tracked.
    return evaluate.main(["bag", "--mode", "network", *map(str, words)])


def _run_training(name: str, out: Path, data: Path) -> int:
    if name == "train":
        from training import train

        words = ["--config", str(data / "wall.yaml"), "--out", str(out)]
        return train.main([*words, "--resume", "auto"])
    if name == "export":
        with pytest.MonkeyPatch.context() as patch:
            return programs(patch)["export"].run(out, data)
    from training import prepare

    images = [word for k in ("images", "kitti/image_2") for word in ("--images", str(data / k))]
    size = ["--width", "16", "--height", "16", "--no-report"]
    size += ["--jobs", "1" if name == IN_TURN else "2"]
    return prepare.main(["folder", str(out), *images, "--calib", str(data / "K.txt"), *size])


def _main(name: str, out: str, data: str, started: str) -> None:
    if name in TRAINING:
        importlib.import_module("training.train")
        importlib.import_module("training.export")
    Path(started).touch()
    for turn in itertools.count():
        run(name, Path(out), Path(data), turn)


if __name__ == "__main__":
    _main(*sys.argv[1:])
