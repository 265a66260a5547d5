"""The exported bundle computes what the model computes, and describes itself."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime")

from graphs.rtx import expect_to_build  # noqa: E402

from sfm_ros.config import ModelConfig  # noqa: E402
from sfm_ros.datatypes import CameraIntrinsics  # noqa: E402
from sfm_ros.engines.onnx_engine import OnnxEngine  # noqa: E402
from sfm_ros.errors import ModelError  # noqa: E402
from sfm_ros.model_spec import ModelSpec  # noqa: E402
from sfm_ros.outputs.marker import MARKER  # noqa: E402
from sfm_ros.window import Window  # noqa: E402
from training import export  # noqa: E402
from training.config import (  # noqa: E402
    NetworkConfig,
    ObjectiveConfig,
    TrainConfig,
    to_dict,
)
from training.exporting.parity import largest_difference, synthetic_images  # noqa: E402
from training.exporting.variants import add_variants, noise_windows  # noqa: E402
from training.geometry.se3 import rigid_inverse  # noqa: E402
from training.networks.sfm_model import SfmModel, build_model  # noqa: E402

CONFIG = TrainConfig(
    width=96,
    height=64,
    network=NetworkConfig(depth="lite", pretrained=False, depth_unit=10.0),
    objective=ObjectiveConfig(depth_supervision_weight=1.0),
)


def images(seed: int = 7) -> torch.Tensor:
    """A window (1, 3, h, w, 3) uint8."""
    window = synthetic_images(3, CONFIG.height, CONFIG.width, seed)
    return torch.from_numpy(np.stack(window))[None]


@pytest.fixture(scope="module")
def model() -> SfmModel:
    """Untrained, but with converged running statistics of its batch normalizations."""
    torch.manual_seed(0)
    model = build_model(CONFIG.network, CONFIG.width, CONFIG.height).train()
    with torch.no_grad():
        for seed in range(100):
            model(images(seed).permute(0, 1, 4, 2, 3).float() / 255)
    return model


@pytest.fixture(scope="module")
def bundle(model: SfmModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "small"
    written = export.export_bundle(
        model, CONFIG, out, training_fx=77.0, licence="Apache-2.0", card="text", metrics={"a": 1.5}
    )
    assert written == out
    return out


def test_spec_describes_graphs(bundle: Path) -> None:
    spec = ModelSpec.load(bundle)
    assert (spec.name, spec.width, spec.height) == ("small", 96, 64)
    # A network of pairs that was trained on windows of three needs only the newest pair.
    assert (CONFIG.network.sequence_length, spec.sequence_length, spec.target_index) == (3, 2, 1)
    assert (spec.training_fx, spec.metric) == (77.0, True)
    assert (spec.licence, spec.card, spec.metrics) == ("Apache-2.0", "text", {"a": 1.5})
    assert spec.min_depth == pytest.approx(10 / 10.01)
    assert spec.max_depth == pytest.approx(10 / 0.01)


def test_graphs_are_small_valid_files(bundle: Path) -> None:
    assert sorted(f.name for f in bundle.iterdir()) == [
        MARKER, "depth.onnx", "model.yaml", "pose.onnx",
    ]  # fmt: skip
    for name in ("depth.onnx", "pose.onnx"):
        onnx.checker.check_model(str(bundle / name), full_check=True)
    assert sum(f.stat().st_size for f in bundle.iterdir()) <= 20e6


def test_onnx_engine_matches_torch(bundle: Path, model: SfmModel) -> None:
    reference = copy.deepcopy(model).eval()
    window = images(seed=11)
    frames = window.permute(0, 1, 4, 2, 3).float() / 255
    with torch.no_grad():
        depth = reference.depth(frames[:, -1])[0, 0].numpy()
        T_next_center = reference.motion(frames)[0, 1]
    camera = CameraIntrinsics(width=96, height=64, fx=77.0, fy=77.0, cx=47.5, cy=31.5)
    found = OnnxEngine(bundle, ModelConfig(threads=1)).infer(
        Window(images=tuple(window[0, 1:].numpy()), stamps_ns=(1, 2), intrinsics=camera)
    )
    assert depth.std() / depth.mean() > 0.01
    np.testing.assert_allclose(found.depth, depth, rtol=1e-4)
    # The newest increment is T_center_next.
    expected = rigid_inverse(T_next_center).numpy()
    np.testing.assert_allclose(found.increments[-1], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "pose", "frames", "exported"),
    [
        ("dispnet", "stacked", 3, 3),
        ("vgg16", "stacked", 2, 2),
        ("vgg12", "stacked", 5, 5),
        ("resnet18", "pair", 3, 2),
        pytest.param("resnet50", "stacked", 3, 3, marks=pytest.mark.slow),
    ],
)
def test_every_network_exports(
    depth: str, pose: str, frames: int, exported: int, tmp_path: Path
) -> None:
    """``export_bundle`` itself refuses graphs that differ; this checks one more image."""
    torch.manual_seed(0)
    network = NetworkConfig(depth=depth, pose=pose, sequence_length=frames)
    config = TrainConfig(width=96, height=64, network=network)
    model = build_model(network, 96, 64)
    out = export.export_bundle(model, config, tmp_path / "net", training_fx=60.0)
    assert ModelSpec.load(out).sequence_length == exported
    image = images(seed=3)[:, 0]
    session = onnxruntime.InferenceSession(out / "depth.onnx")
    (found,) = session.run(None, {"rgb": image.numpy()})
    with torch.no_grad():
        expected = model.eval().depth(image.permute(0, 3, 1, 2).float() / 255)[:, 0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)
    window = torch.zeros(1, exported, 64, 96, 3, dtype=torch.uint8).numpy()
    (motions,) = onnxruntime.InferenceSession(out / "pose.onnx").run(None, {"window": window})
    assert motions.shape == (1, exported - 1, 4, 4)
    if depth == "resnet18":  # with `lite`, the networks of which INT8 graphs are known to build
        spec = ModelSpec.load(out)
        add_variants(out, spec, ["fp16", "int8"], noise_windows(spec, 1))
        if importlib.util.find_spec("tensorrt_rtx") is not None:  # installed for tests alone
            expect_to_build(sorted(out.glob("*.onnx")))


def test_motion_from_features_exports(tmp_path: Path) -> None:
    """Both graphs in the engine, frame after frame, against torch; lengths of another lens."""
    torch.manual_seed(0)
    network = NetworkConfig(
        depth="lite", pretrained=False, pose="features", canonical_focal=0.5, scales=3
    )
    config = TrainConfig(width=96, height=64, network=network)
    model = build_model(network, 96, 64)
    out = export.export_bundle(model, config, tmp_path / "net", training_fx=60.0)
    spec = ModelSpec.load(out)
    assert (spec.pose_input, spec.sequence_length) == ("features", 3)
    assert (spec.canonical_fx, spec.canonical_center) == (48.0, True)
    window = images(seed=3)
    K = torch.tensor([[[72.0, 0, 50.0], [0, 72.0, 28.0], [0, 0, 1]]])
    with torch.no_grad():
        expected = model.eval()(window.permute(0, 1, 4, 2, 3).float() / 255, K)
    camera = CameraIntrinsics(width=96, height=64, fx=72.0, fy=72.0, cx=50.0, cy=28.0)
    found = OnnxEngine(out, ModelConfig(threads=1)).infer(
        Window(images=tuple(window[0].numpy()), stamps_ns=(0, 1, 2), intrinsics=camera)
    )
    T_previous_center, T_next_center = expected.T_source_target_bs44[0]
    np.testing.assert_allclose(found.increments[0], T_previous_center.numpy(), atol=1e-4)
    np.testing.assert_allclose(
        found.increments[1], rigid_inverse(T_next_center).numpy(), atol=1e-4
    )
    with torch.no_grad():
        newest = model.depth(window[:, -1].permute(0, 3, 1, 2).float() / 255)
    np.testing.assert_allclose(found.depth, 1.5 * newest[0, 0].numpy(), rtol=1e-4)


def test_a_model_without_motion_is_no_bundle(tmp_path: Path) -> None:
    network = NetworkConfig(depth="lite", pretrained=False, pose="none", sequence_length=1)
    model = build_model(network, 96, 64)
    with pytest.raises(ModelError, match="no pose network.*--init"):
        export.export_bundle(model, CONFIG, tmp_path / "net", training_fx=60.0)
    assert list(tmp_path.iterdir()) == []


def test_learned_focal_length_is_exported() -> None:
    network = dataclasses.replace(CONFIG.network, learned_intrinsics="shared", initial_focal=0.5)
    learned = build_model(network, 96, 64)
    assert export.learned_fx(learned, CONFIG) == pytest.approx(48.0)
    assert export.learned_fx(build_model(CONFIG.network, 96, 64), CONFIG) is None


def test_export_leaves_model_unchanged(bundle: Path, model: SfmModel) -> None:
    assert model.training
    weight = model.depth_net.merge[0][1].weight
    assert weight.requires_grad


@pytest.fixture
def copied_graphs(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export copies the graphs of ``bundle`` instead of tracing for half a minute."""

    def copy_graph(*arguments: object) -> None:
        path = arguments[-1]
        assert isinstance(path, Path)
        shutil.copy(bundle / path.name, path)

    monkeypatch.setattr(export, "write_graph", copy_graph)


def test_graphs_of_other_weights_are_refused(
    copied_graphs: None, model: SfmModel, tmp_path: Path
) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.depth_net.sub_pixel.disparity.conv.bias += 0.01
    with pytest.raises(ModelError, match="depth differs"):
        export.export_bundle(other, CONFIG, tmp_path / "new", training_fx=77.0)
    assert list(tmp_path.iterdir()) == []


def checkpoint(model: SfmModel, path: Path) -> None:
    """A checkpoint whose plain weights are zero and whose average is the model."""
    zeros = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    torch.save(
        {
            "config": to_dict(CONFIG),
            "model": zeros,
            "average": model.state_dict(),
            "optimizer": None,
            "step": 1234,
            "best": None,
            "torch_rng": torch.get_rng_state(),
        },
        path,
    )


def test_command_exports_average_over_old_bundle(
    copied_graphs: None, model: SfmModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(model, tmp_path / "last.pt")
    (tmp_path / "card.md").write_text("A card.", encoding="utf-8")
    out = tmp_path / "road"
    arguments = ["--checkpoint", str(tmp_path / "last.pt"), "--out", str(out)]
    assert export.main([*arguments, "--training-fx", "60"]) == 0
    assert (ModelSpec.load(out).training_fx, ModelSpec.load(out).card) == (60.0, "")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    arguments += ["--card", str(tmp_path / "card.md"), "--training-fx", "77"]
    assert export.main(arguments) == 0
    assert str(out) in capsys.readouterr().out
    spec = ModelSpec.load(out)
    assert (spec.name, spec.card, spec.metrics) == ("road", "A card.", {"training_steps": 1234.0})
    assert spec.training_fx == 77.0 and (out / "notes.txt").read_text() == "mine"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["card.md", "last.pt", "road"]


def test_command_states_the_difference_that_weights_as_fp16_make(
    copied_graphs: None, model: SfmModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(model, tmp_path / "last.pt")
    out = tmp_path / "road"
    arguments = ["--checkpoint", str(tmp_path / "last.pt"), "--out", str(out)]
    assert export.main([*arguments, "--training-fx", "60"]) == 0
    assert capsys.readouterr().out.endswith("agrees with torch to 1e-04\n")
    assert export.main([*arguments, "--training-fx", "60", "--weights", "fp16"]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"weights stored as FP16 it differs from torch by up to (\S+)$", printed)
    assert found is not None and 1e-5 < float(found[1]) < 2e-2
    difference = largest_difference(export.deployed_copy(model), ModelSpec.load(out), out)
    assert float(found[1]) == float(f"{difference:.0e}")


def test_bundle_holds_validation_figures_of_its_step(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(
        "step,name,value\n5,validation/score,0.9\n10,validation/score,0.8\n10,loss/total,3\n"
    )
    figures = export.measured(tmp_path / "last.pt", 10)
    assert figures == {"training_steps": 10.0, "validation/score": 0.8}
    assert export.measured(tmp_path / "last.pt", 7) == {"training_steps": 7.0}


def test_command_reports_what_is_missing(
    model: SfmModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "road")]
    assert export.main(["--checkpoint", str(tmp_path / "none.pt"), *out]) == 1
    assert "none.pt" in capsys.readouterr().err
    checkpoint(model, tmp_path / "last.pt")
    assert export.main(["--checkpoint", str(tmp_path / "last.pt"), *out]) == 1
    assert "--training-fx" in capsys.readouterr().err


def test_unsupervised_models_are_not_metric() -> None:
    assert not export.is_metric(dataclasses.replace(CONFIG, objective=ObjectiveConfig()))
    known_speed = ObjectiveConfig(velocity_weight=0.05)
    assert export.is_metric(dataclasses.replace(CONFIG, objective=known_speed))
