"""Inverse depth from several views in torch and as a graph: the same as the compiled version."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from bundles import tilted_wall, write_bundle
from view_scenes import CAMERA, Views, box_views, street_views

from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.multiview import measure
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import MULTIVIEW_INPUTS, ModelSpec
from training.export_multiview import add_to_bundle, example_inputs, main, write_multiview
from training.geometry.multiview import MultiView

ROOT = Path(__file__).resolve().parents[3]
SCENES = [street_views(), street_views(2.0), box_views()]
TOLERANCE = 1e-4
BUILD = """
import sys
from pathlib import Path
from sfm_ros.engines.tensorrt.builder import build_plan
from sfm_ros.engines.tensorrt.library import load_library
print(len(build_plan(load_library(), Path(sys.argv[1]).read_bytes(), "fp32").plan))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "multiview.onnx"
    write_multiview(path, CAMERA.width, CAMERA.height)
    return path


def inputs_of(scene: Views, factor: float = 1.2) -> tuple[torch.Tensor, ...]:
    prior = scene.prior(factor)
    images = torch.from_numpy(np.stack([scene.target, *scene.sources]))[None]
    numbers = (np.stack(scene.T_source_target), scene.K, prior.inv_depth, prior.sigma)
    return (
        images[:, 0], images[:, 1:],
        *(torch.from_numpy(np.array(a, dtype=np.float32))[None] for a in numbers),
    )  # fmt: skip


def in_torch(inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output[0].numpy() for output in MultiView()(*inputs)]


@pytest.mark.parametrize("scene", SCENES)
def test_torch_computes_what_the_compiled_version_does(scene: Views) -> None:
    inv_depth, sigma, valid = in_torch(inputs_of(scene))
    found = measure(scene.target, scene.sources, scene.T_source_target, scene.K, scene.prior(1.2))
    assert np.mean(valid != found.valid) < 1e-3
    both = valid & found.valid
    assert both.mean() > 0.5
    assert np.abs(inv_depth / found.inv_depth - 1)[both].max() < 0.01
    assert np.quantile(np.abs(sigma / found.sigma - 1)[both], 0.999) < 0.01


@pytest.mark.parametrize("size", [(61, 95), (64, 97)])
def test_odd_sizes_are_measured_alike(size: tuple[int, int]) -> None:
    scene = street_views()
    height, width = size
    target, sources, T, K, *prior = inputs_of(scene)
    images = [a[..., :height, :width] for a in (target, sources, *prior)]
    inv_depth, _, valid = in_torch((*images[:2], T, K, *images[2:]))
    first, *others = (a[:height, :width] for a in (scene.target, *scene.sources))
    whole = scene.prior(1.2)
    cropped = (a[:height, :width] for a in (whole.inv_depth, whole.sigma, whole.valid))
    found = measure(first, others, scene.T_source_target, scene.K, InverseDepth(*cropped))
    both = valid & found.valid
    assert np.mean(valid != found.valid) < 1e-3
    assert both.any() and np.abs(inv_depth / found.inv_depth - 1)[both].max() < 0.01


@pytest.mark.parametrize("scene", SCENES)
def test_the_graph_computes_what_torch_does(scene: Views, graph: Path) -> None:
    inputs = inputs_of(scene)
    session = onnxruntime.InferenceSession(str(graph))
    feeds = dict(zip(MULTIVIEW_INPUTS, (a.numpy() for a in inputs), strict=True))
    found_w, found_sigma, found_valid = (a[0] for a in session.run(None, feeds))
    inv_depth, sigma, valid = in_torch(inputs)
    assert np.mean(valid != found_valid) < 1e-4
    both = valid & found_valid
    assert np.abs(found_w / inv_depth - 1)[both].max() < TOLERANCE
    assert np.quantile(np.abs(found_sigma / sigma - 1)[both], 0.999) < 10 * TOLERANCE


def test_the_graph_is_small(graph: Path) -> None:
    assert graph.stat().st_size < 150_000


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed (pip install -r requirements/rtx.txt)",
)
def test_tensorrt_rtx_builds_the_graph(graph: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(graph)],
        capture_output=True, text=True, timeout=300, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10_000


def test_a_bundle_gets_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "bundle", tilted_wall(), np.eye(4))
    assert ModelSpec.load(bundle).multiview_file == ""
    monkeypatch.setattr(
        "training.export_multiview.write_multiview",
        lambda path, width, height: path.write_bytes(f"{width}x{height}".encode()),
    )
    path = add_to_bundle(bundle)
    spec = ModelSpec.load(bundle)
    assert path == bundle / spec.multiview_file
    assert path.read_text() == f"{spec.width}x{spec.height}"
    path.write_bytes(b"other")
    with pytest.raises(ModelError, match="multiview.onnx is damaged"):
        ModelSpec.load(bundle)


def test_no_bundle_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tmp_path)]) == 1
    assert "no model at" in capsys.readouterr().err


def test_the_example_measures_nothing() -> None:
    with torch.inference_mode():
        *_, valid = MultiView()(*example_inputs(64, 48))
    assert not valid.any()
