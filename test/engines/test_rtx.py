"""The real TensorRT-RTX on a machine without a GPU, always in a process of its own.

Its parser and builder are those of TensorRT. A call on an object that needs a driver may end the
process, so nothing here runs within pytest.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import tilted_wall, write_bundle

from sfm_ros.engines.engine_cache import OWN_FOLDER, SHARED_FOLDERS, EngineCache
from sfm_ros.engines.tensorrt.cuda import has_driver
from sfm_ros.geometry import make_transform
from sfm_ros.model_spec import ModelSpec

ROOT = Path(__file__).resolve().parents[2]
FORWARD = make_transform(np.eye(3), [0.0, 0.0, 1.0])

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="TensorRT-RTX is not installed (pip install -r requirements/rtx.txt)",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt") is not None, reason="TensorRT would be used instead"
    ),
]
without_gpu = pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a cache of its own."""
    environment = {**os.environ, OWN_FOLDER: str(tmp_path / "cache"), SHARED_FOLDERS: ""}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=300, cwd=ROOT,
        env=environment, check=False,
    )  # fmt: skip


def build(tmp_path: Path, bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(tmp_path, "-m", "sfm_ros.cli.build_engine", str(bundle), *options)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", tilted_wall(), FORWARD)


@without_gpu
def test_a_bundle_is_built_ahead_of_time(tmp_path: Path, bundle: Path) -> None:
    done = build(tmp_path, bundle, "--progress-lines")
    assert done.returncode == 0, done.stderr
    assert "not compared with ONNX Runtime: no GPU here" in done.stderr
    assert done.stdout.splitlines()[-1] == "done"
    entries = EngineCache(tmp_path / "cache", []).entries()
    assert sorted(entry.facts["graph"] for entry in entries) == ["depth.onnx", "pose.onnx"]
    for entry in entries:
        assert entry.identity is not None and entry.size > 1000
        assert (entry.identity.library, entry.identity.gpu) == ("TensorRT-RTX", "any")
        assert len(EngineCache(tmp_path / "cache", []).load(entry.identity)) > 1000
    again = build(tmp_path, bundle)
    assert again.returncode == 0 and "nothing to build" in again.stderr


@without_gpu
def test_an_engine_without_a_gpu_is_an_error_and_no_crash(tmp_path: Path, bundle: Path) -> None:
    code = """
import sys
from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import EngineError
import tensorrt_rtx
try:
    create_engine(ModelConfig(bundle=sys.argv[1], engine="tensorrt"))
except EngineError as error:
    print(error)
"""
    done = run(tmp_path, "-c", code, str(bundle))
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA driver on this machine" in done.stdout


def test_an_unsupported_node_is_named(tmp_path: Path, bundle: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    path = bundle / "depth.onnx"
    model = onnx.load(path)
    helper = onnx.helper
    model.graph.node[-1].output[0] = "before"
    output = model.graph.output[0].name
    node = helper.make_node("WarpByHand", ["before"], [output], name="odd", domain="of.nobody")
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("of.nobody", 1))
    onnx.save(model, path)
    ModelSpec.load(write_bundle(tmp_path / "other", tilted_wall(), FORWARD)).save(bundle)
    done = build(tmp_path, bundle)
    assert done.returncode == 1
    assert "node 'odd' (WarpByHand)" in done.stderr and "Plugin not found" in done.stderr
    assert EngineCache(tmp_path / "cache", []).entries() == []


def test_a_file_that_is_no_graph_is_an_error(tmp_path: Path, bundle: Path) -> None:
    spec = ModelSpec.load(bundle)
    (bundle / "depth.onnx").write_bytes(b"\x08\x07 no graph " * 100)
    spec.save(bundle)
    done = build(tmp_path, bundle)
    assert done.returncode == 1 and "cannot run this graph" in done.stderr
