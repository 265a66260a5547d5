"""The networks as the graphs of a bundle (`sfm_ros.model_spec`): uint8 in, float32 out."""

from __future__ import annotations

from torch import Tensor, nn

from training.networks.sfm_model import SfmModel


class DepthGraph(nn.Module):
    """uint8 (1, h, w, 3) -> depth float32 (1, h, w)."""

    outputs: tuple[str, ...] = ("depth",)

    def __init__(self, model: SfmModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.model.depth(_image_of(rgb)).squeeze(1)


class PoseGraph(nn.Module):
    """uint8 (1, n, h, w, 3) in order of time -> T_source_target float32 (1, n - 1, 4, 4)."""

    input = "window"

    def __init__(self, model: SfmModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, window: Tensor) -> Tensor:
        return self.model.motion(window.permute(0, 1, 4, 2, 3).float() * (1 / 255))


class FeatureDepthGraph(DepthGraph):
    """uint8 (1, h, w, 3) -> depth (1, h, w) and features (1, c, h', w') of the frame, float32."""

    outputs = ("depth", "features")

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        depth, features = self.model.depth_and_features(_image_of(rgb))
        return depth.squeeze(1), features


class FeaturePoseGraph(PoseGraph):
    """Features (1, n, c, h', w') in order of time -> T_source_target float32 (1, n - 1, 4, 4)."""

    input = "features"

    def forward(self, window: Tensor) -> Tensor:
        return self.model.motion_of_features(window)


def _image_of(rgb: Tensor) -> Tensor:
    """uint8 (1, h, w, 3) -> float32 (1, 3, h, w) in [0, 1]."""
    return rgb.permute(0, 3, 1, 2).float() * (1 / 255)


def graphs_of(model: SfmModel) -> tuple[DepthGraph, PoseGraph]:
    """The two graphs of a deployed model that has a pose network."""
    if model.uses_features:
        return FeatureDepthGraph(model), FeaturePoseGraph(model)
    return DepthGraph(model), PoseGraph(model)
