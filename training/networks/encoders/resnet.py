"""ResNet-18 and ResNet-50 (He et al. 2015) as encoders, named as in torchvision's weight files.

Written out because torchvision does not import with the CPU build of torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from sfm_ros.safety.archives import check_stored
from training.networks.initialization import initialize_relu_layers

_STAGE_CHANNELS = (64, 128, 256, 512)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (ResNet-18)."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = torch.relu(self.bn1(self.conv1(features)))
        return torch.relu(shortcut + self.bn2(self.conv2(inner)))


class _Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 to four times the channels, with a shortcut (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = _conv(inputs, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _conv(channels, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = torch.relu(self.bn1(self.conv1(features)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(shortcut + self.bn3(self.conv3(inner)))


_Block = Callable[[int, int, int], nn.Module]
_LAYOUTS: dict[str, tuple[_Block, int, tuple[int, ...]]] = {
    "resnet18": (_BasicBlock, _BasicBlock.expansion, (2, 2, 2, 2)),
    "resnet50": (_Bottleneck, _Bottleneck.expansion, (3, 4, 6, 3)),
}
"""Block, its expansion of the channels, and number of blocks in each of the four stages."""


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
        make_block, expansion, counts = _LAYOUTS[name]
        self.name = name
        self.conv1 = _conv(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = 64
        for number, (channels, count) in enumerate(zip(_STAGE_CHANNELS, counts, strict=True), 1):
            blocks = []
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(make_block(inputs, channels, stride))
                inputs = channels * expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.tap_channels = (64, *(channels * expansion for channels in _STAGE_CHANNELS))
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)
        initialize_relu_layers(self)
        # Each block starts as its shortcut (Goyal et al. 2017, section 5.1), so that the signal
        # does not grow from block to block.
        for block in self.modules():
            if isinstance(block, _BasicBlock):
                nn.init.zeros_(block.bn2.weight)
            elif isinstance(block, _Bottleneck):
                nn.init.zeros_(block.bn3.weight)

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
        own = self.state_dict()
        # Files from before 2018 have no count of batches.
        missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
        unknown = [name for name in state if name not in own]
        wrong = [n for n in state if n in own and state[n].shape != own[n].shape]
        for what, names in (("lacks", missing), ("has in addition", unknown)):
            if names:
                raise ConfigError(
                    f"{path} does not hold the weights of {self.name}: it {what} {len(names)} "
                    f"tensors, the first is '{names[0]}'; give a file in torchvision's format "
                    f"for {self.name}"
                )
        if wrong:
            raise ConfigError(
                f"{path}: '{wrong[0]}' has the shape {tuple(state[wrong[0]].shape)}, {self.name} "
                f"expects {tuple(own[wrong[0]].shape)}; give the file of {self.name}"
            )
        self.load_state_dict(own | state)


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    remedy = f"give the path of {name}'s state dict in torchvision's format, or leave it empty"
    if not path.is_file():
        raise ConfigError(
            f"network.encoder_weights is '{path}', but there is no such file; {remedy}"
        )
    try:
        if zipfile.is_zipfile(path):  # older files of torchvision are not
            check_stored(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"network.encoder_weights is '{path}', which torch cannot read ({reason}); {remedy}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(
            f"network.encoder_weights is '{path}', which is not a state dict of tensors; {remedy}"
        )
    return state
