"""A training that starts with a bundle has the networks that were exported."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

import numpy as np
import onnx
import torch
from training_runs import arguments

from sfm_ros.engines.factory import MODELS
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from training import train
from training.config import NetworkConfig, TrainConfig
from training.export import build_untrained, export_bundle
from training.exporting import restored as restored_module
from training.exporting.parity import TOLERANCE, depth_difference, largest_difference
from training.exporting.restored import load_bundle, normalize_by
from training.exporting.storage import load_graph
from training.fit.checkpoint import (
    CheckpointError,
    load_checkpoint,
    refuse_full_size_decoder,
    save_checkpoint,
)
from training.networks.sfm_model import SfmModel

NETWORK = NetworkConfig(
    depth="lite", pretrained=False, scales=1, depth_unit=10.0, canonical_focal=0.581
)
CONFIG = TrainConfig(width=64, height=64, network=NETWORK)
"""As the recipe of the training tests, but for the canonical camera."""
K = torch.tensor([[[37.2, 0.0, 31.5], [0.0, 37.2, 31.5], [0.0, 0.0, 1.0]]])


def images(seed: int) -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def untrained(**network: Any) -> SfmModel:
    torch.manual_seed(6)
    changed = dataclasses.replace(NETWORK, **network)
    return build_untrained(dataclasses.replace(CONFIG, network=changed))


def exported(pose: str, folder: Path) -> tuple[SfmModel, Path]:
    """A model whose batch normalizations have seen images, and its bundle."""
    model = untrained(pose=pose)
    with torch.no_grad():
        for seed in range(40):
            model(images(seed)[None], K)
    return model.eval(), export_bundle(model, CONFIG, folder / pose, training_fx=60.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[SfmModel, Path]:
    return exported("pair", tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def bundle(pair: tuple[SfmModel, Path]) -> Path:
    return pair[1]


def assert_restored(model: SfmModel, bundle: Path) -> None:
    restored = build_untrained(dataclasses.replace(CONFIG, network=model.config))
    load_bundle(bundle, restored, ["depth", "pose"])
    assert restored.training
    with torch.inference_mode():
        expected, found = (m.eval()(images(99)[None], K) for m in (model, restored))
    assert torch.allclose(found.depths_b1hw[0], expected.depths_b1hw[0], rtol=TOLERANCE)
    motions = found.T_source_target_bs44, expected.T_source_target_bs44
    assert (motions[0] - motions[1]).abs().max() < TOLERANCE


def test_networks_are_those_of_the_bundle(pair: tuple[SfmModel, Path]) -> None:
    assert_restored(*pair)


def test_motion_in_features_is_that_of_the_bundle(tmp_path: Path) -> None:
    assert_restored(*exported("features", tmp_path))


@pytest.mark.parametrize("scales", [2, 3, 4])
def test_scales_of_the_training_do_not_matter(bundle: Path, scales: int) -> None:
    load_bundle(bundle, untrained(pose="pair", scales=scales), ["depth", "pose"])


def test_networks_of_the_decoder_before_are_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "depth_net.merge.4.0.weight"

    def with_old_layer(path: Path) -> onnx.ModelProto:
        graph = load_graph(path)
        weight = onnx.numpy_helper.from_array(np.zeros((16, 1, 3, 3), np.float32), f"model.{old}")
        graph.graph.initializer.append(weight)
        return graph

    monkeypatch.setattr(restored_module, "load_graph", with_old_layer)
    with pytest.raises(CheckpointError, match="pair holds .* as before version 0.2; train again"):
        load_bundle(bundle, untrained(pose="pair"), ["depth", "pose"])

    entries = {"config": {}, "average": None, "optimizer": None, "step": 1, "best": None}
    entries |= {"model": {old: torch.zeros(16, 1, 3, 3)}, "torch_rng": torch.get_rng_state()}
    save_checkpoint(tmp_path / "old.pt", entries)
    with pytest.raises(CheckpointError, match="old.pt holds .* as before version 0.2"):
        load_checkpoint(tmp_path / "old.pt")
    refuse_full_size_decoder(tmp_path, {old: (16, 32, 3, 3)})  # of a resnet


def test_what_is_not_finite_differs(pair: tuple[SfmModel, Path]) -> None:
    model, bundle = copy.deepcopy(pair[0]), pair[1]
    spec = ModelSpec.load(bundle)
    model.sequence_length = spec.sequence_length
    assert largest_difference(model, spec, bundle) < TOLERANCE
    with torch.no_grad():
        for parameter in model.pose_net.parameters():
            parameter.fill_(math.nan)
    assert math.isnan(largest_difference(model, spec, bundle))
    assert depth_difference(model, spec, bundle) < TOLERANCE
    with torch.no_grad():
        for parameter in model.depth_net.parameters():
            parameter.fill_(math.nan)
    assert math.isnan(depth_difference(model, spec, bundle))


def test_statistics_of_images_change_no_result(bundle: Path) -> None:
    restored = untrained(pose="none", sequence_length=1)
    load_bundle(bundle, restored, ["depth"])
    depth_net = restored.depth_net
    with torch.no_grad():
        before = depth_net.eval()(images(3))[0]
        unprepared = depth_net.train()(images(3))[0]
        load_bundle(bundle, restored, ["depth"])
        normalize_by(depth_net, [images(3)])
        after = depth_net.eval()(images(3))[0]
        learning = depth_net.train()(images(3))[0]
    assert torch.allclose(after, before, rtol=1e-3)
    # A step of the training starts from what was exported.
    assert torch.allclose(learning, before, rtol=1e-3)
    assert not torch.allclose(unprepared, before, rtol=1e-1)


@pytest.mark.parametrize("name", sorted(path.name for path in MODELS.iterdir()))
def test_shipped_bundles_can_be_trained_on(name: str) -> None:
    spec = ModelSpec.load(MODELS / name)
    network = dataclasses.replace(
        NETWORK,
        pose="features" if spec.pose_input == "features" else "pair",
        translation_factor=0.2,
        rotation_factor=0.2,
    )
    config = TrainConfig(width=spec.width, height=spec.height, network=network)
    model = build_untrained(config)
    load_bundle(MODELS / name, model, ["depth", "pose"])
    model.sequence_length = spec.sequence_length
    assert largest_difference(model.eval(), spec, MODELS / name) < TOLERANCE


@pytest.mark.parametrize(
    "network",
    [
        {"depth": "dispnet", "pose": "pair"},
        {"depth": "resnet18", "pose": "pair"},
        {"depth_unit": 3.0},
        {"pose": "stacked"},
        {"pose": "features"},
    ],
)
def test_networks_of_another_kind_are_refused(network: dict[str, Any], bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be had back for this recipe"):
        load_bundle(bundle, untrained(**network), ["depth", "pose"])


def test_motion_alone_is_refused(bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="expected --init-networks depth pose"):
        load_bundle(bundle, untrained(pose="pair"), ["pose"])


def test_training_starts_with_a_bundle(recipe: Path, bundle: Path, tmp_path: Path) -> None:
    begun = train.build(train.parse(arguments(recipe, tmp_path / "run", "--init", str(bundle))))
    assert depth_difference(begun.model.eval(), ModelSpec.load(bundle), bundle) < 2 * TOLERANCE
    norm = begun.model.depth_net.encoder.stem[1]  # type: ignore[union-attr,index]
    assert norm.running_mean.abs().max() > 0.01  # the statistics of images, not those of nothing


def test_unknown_bundle_names_those_that_exist(recipe: Path, tmp_path: Path) -> None:
    options = train.parse(arguments(recipe, tmp_path / "run", "--init", "nothing"))
    with pytest.raises(ModelError, match="no model 'nothing'.*kitti"):
        train.build(options)
