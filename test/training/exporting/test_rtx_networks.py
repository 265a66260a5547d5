"""TensorRT-RTX builds every shipped network and those of all recipes, in every precision for GPUs.

Ahead of time, without a GPU: its parser and builder are TensorRT's. Weights are untrained where
nothing is shipped, and the images are small unless SFM_SLOW_TESTS=1; that changes no layer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
import torch

from sfm_ros.engines.factory import MODELS
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.engines.registry import ENGINES
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window
from training import export
from training.config import TrainConfig, load_config
from training.exporting.half import in_half
from training.exporting.parity import window_of
from training.exporting.quantize import STYLES, quantized
from training.exporting.rewrites import rewritten
from training.networks.graphs import DepthGraph, graphs_of
from training.networks.sfm_model import build_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed (pip install -r requirements/rtx.txt)",
)

ROOT = Path(__file__).resolve().parents[3]
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.yaml"))
IS_SLOW = os.environ.get("SFM_SLOW_TESTS") == "1"
PRECISIONS = tuple(ENGINES["tensorrt"].variants)
SMALL_SIZE = 192, 64
"""Pixels; calibration takes most of the time."""
LEAST_PLAN = 64 * 1024
"""Bytes; a plan holds the weights."""

BUILD = """
import json, sys
from pathlib import Path
from sfm_ros.engines.tensorrt.builder import build_plan
from sfm_ros.engines.tensorrt.library import load_library
from sfm_ros.errors import EngineError
library, results = load_library(), {}
for path in map(Path, json.load(sys.stdin)):
    try:
        results[str(path)] = len(build_plan(library, path.read_bytes(), path.stem).plan)
    except EngineError as error:
        results[str(path)] = str(error)
print(json.dumps(results))
"""


def build_all(paths: list[Path]) -> dict[str, int | str]:
    """Size of each plan, or why there is none; in one process, so that none of ours can crash."""
    asked = json.dumps([str(path) for path in paths])
    done = subprocess.run(
        [sys.executable, "-c", BUILD], input=asked, capture_output=True, text=True, cwd=ROOT,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_built(paths: list[Path]) -> None:
    results = build_all(paths)
    failures = {name: found for name, found in results.items() if not isinstance(found, int)}
    assert failures == {}
    assert min(int(size) for size in results.values()) > LEAST_PLAN


def test_the_shipped_networks_are_built() -> None:
    paths = []
    for bundle in sorted(MODELS.iterdir()):
        spec = ModelSpec.load(bundle)
        for precision in PRECISIONS:
            if precision in ("fp32", *spec.variants):
                graphs = spec.graphs(precision)
                paths += [bundle / graphs.depth_file, bundle / graphs.pose_file]
    assert len(paths) >= 2
    check_built(paths)


@dataclass(frozen=True)
class Networks:
    """Those of a recipe, as its graphs differ from those of others."""

    name: str
    config: TrainConfig

    @property
    def size(self) -> tuple:
        return (self.config.width, self.config.height) if IS_SLOW else ()

    @property
    def depth(self) -> tuple:
        network = self.config.network
        return *self.size, network.depth, network.pose == "features"

    @property
    def pose(self) -> tuple:
        network = self.config.network
        return *self.size, network.pose, network.sequence_length


def distinct(key: Callable[[Networks], tuple]) -> list[Networks]:
    """The recipes whose networks differ in this key."""
    found: dict[tuple, Networks] = {}
    for recipe in RECIPES:
        networks = Networks(recipe.stem, load_config(recipe))
        found.setdefault(key(networks), networks)
    return list(found.values())


DEPTHS = distinct(lambda n: n.depth)
POSES = [n for n in distinct(lambda n: n.pose) if n.config.network.pose != "none"]


def test_there_are_recipes_of_several_networks() -> None:
    assert len(DEPTHS) >= 5 and len(POSES) >= 2


def written(networks: Networks, folder: Path, is_depth: bool) -> Iterator[Path]:
    """The depth or the pose graph of untrained networks, in every precision."""
    config = networks.config
    width, height = SMALL_SIZE if not IS_SLOW else (config.width, config.height)
    network = replace(config.network, pretrained=False, encoder_weights="")
    model = export.deployed_copy(build_model(network, width, height))
    depth, pose = graphs_of(model)
    path = folder / "fp32.onnx"
    grid = fake_spec(width, height, max(model.sequence_length, 2))
    seen = tensors_of(parity_windows(grid)[0], depth, is_depth)
    if is_depth:
        export.write_graph(depth, [seen], ["rgb"], depth.outputs, path)
    else:
        export.write_graph(pose, [seen], [pose.input], ["T_source_target"], path)
    graph = rewritten(onnx.load(path))
    onnx.save(graph, path)
    yield path
    onnx.save(in_half(graph), folder / "fp16.onnx")
    yield folder / "fp16.onnx"
    onnx.save(quantized(graph, [seen.numpy()], STYLES["int8"]), folder / "int8.onnx")
    yield folder / "int8.onnx"


def tensors_of(window: Window, depth: DepthGraph, is_depth: bool) -> torch.Tensor:
    """What a graph takes of a window."""
    images = [torch.from_numpy(np.array(image))[None] for image in window.images]
    return images[-1] if is_depth else window_of(depth, images)


@pytest.mark.parametrize(
    ("networks", "is_depth"),
    [*((n, True) for n in DEPTHS), *((n, False) for n in POSES)],
    ids=[*(f"depth of {n.name}" for n in DEPTHS), *(f"pose of {n.name}" for n in POSES)],
)
def test_the_networks_of_the_recipes_are_built(
    networks: Networks, is_depth: bool, tmp_path: Path
) -> None:
    check_built(list(written(networks, tmp_path, is_depth)))
