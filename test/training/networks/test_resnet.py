"""ResNet encoders: published sizes, and weights in torchvision's format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import nn

from sfm_ros.errors import ConfigError
from training.config import NetworkConfig
from training.networks.encoders.resnet import ResNet
from training.networks.sfm_model import build_model

WIDTH, HEIGHT = 96, 64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "whole", "classifier"),
    [("resnet18", 11_689_512, 513_000), ("resnet50", 25_557_032, 2_049_000)],
)
def test_encoders_have_published_sizes(name: str, whole: int, classifier: int) -> None:
    with torch.device("meta"):
        encoder = ResNet(name)
    assert sum(p.numel() for p in encoder.parameters()) == whole - classifier


def resnet_state(blocks: tuple[int, ...], *, bottleneck: bool) -> dict[str, torch.Tensor]:
    """Random weights with the names and shapes of torchvision's files."""
    state: dict[str, torch.Tensor] = {}

    def conv_bn(conv: str, bn: str, inputs: int, outputs: int, kernel: int) -> None:
        fan_in = inputs * kernel * kernel
        state[f"{conv}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * fan_in**-0.5
        state[f"{bn}.weight"] = 0.5 + torch.rand(outputs)
        state[f"{bn}.bias"] = 0.1 * torch.randn(outputs)
        state[f"{bn}.running_mean"] = 0.1 * torch.randn(outputs)
        state[f"{bn}.running_var"] = 0.5 + torch.rand(outputs)
        state[f"{bn}.num_batches_tracked"] = torch.tensor(7)

    conv_bn("conv1", "bn1", 3, 64, 7)
    inputs = 64
    for stage, count in enumerate(blocks, start=1):
        thin = 32 << stage
        wide = 4 * thin if bottleneck else thin
        for block in range(count):
            name = f"layer{stage}.{block}"
            sizes = [(inputs, thin, 1), (thin, thin, 3), (thin, wide, 1)]
            for number, (i, o, k) in enumerate(
                sizes if bottleneck else [(inputs, thin, 3), (thin, thin, 3)], start=1
            ):
                conv_bn(f"{name}.conv{number}", f"{name}.bn{number}", i, o, k)
            if block == 0 and (stage > 1 or bottleneck):
                conv_bn(f"{name}.downsample.0", f"{name}.downsample.1", inputs, wide, 1)
            inputs = wide
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, inputs), torch.zeros(1000)
    return state


def resnet_features(state: dict[str, torch.Tensor], rgb: torch.Tensor) -> list[torch.Tensor]:
    """The network of He et al. (with the stride on the 3x3), reconstructed from the names."""

    def conv_bn(x: torch.Tensor, conv: str, bn: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        x = nn.functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        statistics = state[f"{bn}.running_mean"], state[f"{bn}.running_var"]
        return nn.functional.batch_norm(
            x, *statistics, weight=state[f"{bn}.weight"], bias=state[f"{bn}.bias"]
        )

    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    x = (rgb - mean) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = conv_bn(x, "conv1", "bn1", stride=2).relu()
    taps = [x]
    x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
    for stage in range(1, 5):
        for block in range(sum(f"layer{stage}.{b}.conv1.weight" in state for b in range(9))):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            depth = 3 if f"{name}.conv3.weight" in state else 2
            inner = x
            for number in range(1, depth + 1):
                own = stride if number == depth - 1 else 1
                inner = conv_bn(inner, f"{name}.conv{number}", f"{name}.bn{number}", own)
                inner = inner.relu() if number < depth else inner
            if f"{name}.downsample.0.weight" in state:
                x = conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (x + inner).relu()
        taps.append(x)
    return taps


STATES: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
    "resnet18": lambda: resnet_state((2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda: resnet_state((3, 4, 6, 3), bottleneck=True),
}


@pytest.mark.parametrize(("name", "tensors"), [("resnet18", 122), ("resnet50", 320)])
def test_resnet_matches_weights_file(name: str, tensors: int, tmp_path: Path) -> None:
    """122 and 320 are the numbers of tensors in torchvision's files."""
    state, path = STATES[name](), tmp_path / "weights.pth"
    assert len(state) == tensors
    torch.save(state, path)
    model = build_model(NetworkConfig(depth=name, encoder_weights=str(path)), WIDTH, HEIGHT)
    rgb = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        taps = model.eval().depth_net.encoder(rgb)
    for found, expected in zip(taps, resnet_features(state, rgb), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_old_resnet_files_load(tmp_path: Path) -> None:
    state = {k: v for k, v in STATES["resnet18"]().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    encoder = ResNet("resnet18")
    encoder.load_weights(tmp_path / "old.pth")
    torch.testing.assert_close(encoder.conv1.weight.data, state["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no such file", "resnet18", "torchvision"]),
        (b"not a weights file", ["cannot read", "resnet18"]),
        ({"epoch": 3}, ["not a state dict"]),
        ({"features.0.weight": torch.zeros(3)}, ["Missing", "conv1.weight"]),
        ("resnet50", ["Unexpected", "resnet18"]),
        ("thin", ["conv1.weight", "[32, 3, 7, 7]", "[64, 3, 7, 7]"]),
    ],
)
def test_foreign_weights_are_refused(content: object, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "resnet50":
        torch.save(STATES["resnet50"](), path)
    elif content == "thin":
        torch.save({**STATES["resnet18"](), "conv1.weight": torch.zeros(32, 3, 7, 7)}, path)
    elif content is not None:
        torch.save(content, path)
    config = NetworkConfig(depth="resnet18", encoder_weights=str(path))
    with pytest.raises(ConfigError) as caught:
        build_model(config, WIDTH, HEIGHT)
    for word in (*words, str(path)):
        assert word in str(caught.value)
