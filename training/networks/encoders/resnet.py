"""ResNet-18 and ResNet-50 (He et al. 2015) as encoders, named as in torchvision's weight files.

Written out because torchvision does not import with the CPU build of torch.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from sfm_ros.safety.archives import check_stored
from training.networks.layers import initialize_relu_layers, load_state

_STAGE_CHANNELS = (64, 128, 256, 512)
_LAYOUTS = {"resnet18": (False, (2, 2, 2, 2)), "resnet50": (True, (3, 4, 6, 3))}
"""Whether the blocks are bottlenecks, and their number in each of the four stages."""
_EXPANSION = 4
"""Channels of a bottleneck's output over those inside."""
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)


class _Block(nn.Module):
    """Convolutions with a shortcut: two of 3x3, or a bottleneck of 1x1, 3x3 and 1x1.

    Starts as its shortcut (Goyal et al. 2017, section 5.1), so that the signal does not grow from
    block to block.
    """

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        # kernel, channels, stride
        layers = [(3, channels, stride), (3, channels, 1)]
        if bottleneck:
            layers = [(1, channels, 1), (3, channels, stride), (1, _EXPANSION * channels, 1)]
        self.count = len(layers)
        before = inputs
        for number, (kernel, outputs, step) in enumerate(layers, 1):
            norm = nn.BatchNorm2d(outputs)
            self.add_module(f"conv{number}", _conv(before, outputs, kernel, step))
            self.add_module(f"bn{number}", norm)
            before = outputs
        nn.init.zeros_(norm.weight)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            shortcut = _conv(inputs, outputs, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        inner = features
        for number in range(1, self.count + 1):
            inner = torch.relu(inner) if number > 1 else inner
            inner = self.get_submodule(f"conv{number}")(inner)
            inner = self.get_submodule(f"bn{number}")(inner)
        shortcut = features if self.downsample is None else self.downsample(features)
        return torch.relu(shortcut + inner)


class ResNet(nn.Module):
    """Features of RGB (b, 3, h, w) in [0, 1] at strides 2, 4, 8, 16, 32.

    Args:
        name: ``resnet18`` or ``resnet50``.

    Attributes:
        tap_channels: channels of the five features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        bottleneck, counts = _LAYOUTS[name]
        outputs = [channels * (_EXPANSION if bottleneck else 1) for channels in _STAGE_CHANNELS]
        self.tap_channels = (64, *outputs)
        self.name = name
        self.conv1 = _conv(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        for stage, (channels, count) in enumerate(zip(_STAGE_CHANNELS, counts, strict=True)):
            blocks = [_Block(self.tap_channels[stage], channels, 2 if stage else 1, bottleneck)]
            blocks += [_Block(outputs[stage], channels, 1, bottleneck) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)
        initialize_relu_layers(self)

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        features = torch.relu(self.bn1(self.conv1((rgb_b3hw - self.mean) / self.std)))
        taps = [features]
        features = self.pool(features)
        for number in range(1, len(_STAGE_CHANNELS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
            taps.append(features)
        return taps

    def load_weights(self, path: Path) -> None:
        """Load the weights of a file in torchvision's format; its classifier is dropped.

        Raises:
            ConfigError: the file is missing, is no state dict, or belongs to another network.
        """
        state = _read_state(path, self.name)
        state = {name: value for name, value in state.items() if not name.startswith("fc.")}
        expected = f"the weights of {self.name} in torchvision's format"
        load_state(self, state, f"{path} does not hold {expected}")


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    found = f"network.encoder_weights is '{path}'"
    remedy = f"give the path of {name}'s state dict in torchvision's format, or leave it empty"
    if not path.is_file():
        raise ConfigError(f"{found}, but there is no such file; {remedy}")
    try:
        if zipfile.is_zipfile(path):  # older files of torchvision are not
            check_stored(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{found}, which torch cannot read ({reason}); {remedy}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{found}, which is not a state dict of tensors; {remedy}")
    return state
