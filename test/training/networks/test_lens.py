"""The canonical lens, and networks of which only a part is there, or learns."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
import torch.nn.functional as F
from random_windows import random_windows
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.config import NetworkConfig
from training.data.sequence import PreparedSet
from training.geometry.se3 import transform_from_pose_vector
from training.networks.feature_matching import REACH, match, products_around
from training.networks.feature_pose_net import STRIDE
from training.networks.lens import depth_in_camera, lens_of, vectors_in_camera
from training.networks.sfm_model import SfmModel, build_model
from training.train import build, parse

WIDTH, HEIGHT = 96, 64
LITE = NetworkConfig(depth="lite", pretrained=False)
DEPTH_ONLY = dataclasses.replace(LITE, pose="none", sequence_length=1)
FEATURES = dataclasses.replace(LITE, pose="features", sequence_length=3, canonical_focal=0.5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def camera(fx: float, cx: float = (WIDTH - 1) / 2, cy: float = (HEIGHT - 1) / 2) -> Tensor:
    return torch.tensor([[[fx, 0.0, cx], [0.0, fx, cy], [0.0, 0.0, 1.0]]])


def image_of(points_p3: Tensor, K_133: Tensor, T_44: Tensor) -> Tensor:
    moved = points_p3 @ T_44[:3, :3].T + T_44[:3, 3]
    seen = moved @ K_133[0].T
    return seen[:, :2] / seen[:, 2:]


@pytest.mark.parametrize("axis", [(47.5, 31.5), (55.0, 24.0)])
def test_a_lens_sees_what_the_canonical_one_sees_of_a_changed_scene(
    axis: tuple[float, float],
) -> None:
    """Points at 5 to 50 m; the motion is small, because rotations change to first order only."""
    K, canonical = camera(80.0, *axis), 0.5
    canonical_K = camera(canonical * WIDTH)
    lens = lens_of(K, WIDTH, HEIGHT, canonical)
    seen = torch.rand(200, 3) * torch.tensor([4.0, 2.0, 45.0]) + torch.tensor([-2.0, -1.0, 5.0])
    vector = torch.tensor([[[0.02, -0.01, 0.3, 1e-3, -4e-3, 2e-3]]])
    depth = seen[:, 2:]
    canonical_points = torch.cat(
        [seen[:, :2] + lens.shift_b2 * depth, depth / lens.stretch_b], dim=1
    )
    still = torch.eye(4)
    before = image_of(seen, K, still)
    torch.testing.assert_close(before, image_of(canonical_points, canonical_K, still))
    found_depth = depth_in_camera(canonical_points[:, 2].view(1, 1, 1, -1), lens)
    torch.testing.assert_close(found_depth.flatten(), seen[:, 2])
    T_canonical = transform_from_pose_vector(vector)[0, 0]
    T_lens = transform_from_pose_vector(vectors_in_camera(vector, lens))[0, 0]
    expected = image_of(canonical_points, canonical_K, T_canonical)
    moved = (expected - before).norm(dim=1).mean()
    assert (image_of(seen, K, T_lens) - expected).norm(dim=1).mean() < 0.03 * moved
    assert (image_of(seen, K, T_canonical) - expected).norm(dim=1).mean() > 0.2 * moved


@pytest.mark.parametrize("pose", ["pair", "stacked", "features"])
def test_model_predicts_lengths_of_the_camera(pose: str) -> None:
    config = dataclasses.replace(LITE, pose=pose, canonical_focal=0.5, translation_factor=1.0)
    model = build_model(config, WIDTH, HEIGHT).eval()
    frames = random_windows(2)
    # Nearly equal frames: the motion is small, because rotations stretch to first order only.
    frames = frames[:, :1] + 0.05 * (frames - frames[:, :1])
    with torch.no_grad():
        same = model(frames, camera(0.5 * WIDTH).expand(2, 3, 3))
        twice = model(frames, camera(1.0 * WIDTH).expand(2, 3, 3))
        canonical_depth, canonical_motion = model.depth(frames[:, 1]), model.motion(frames)
    torch.testing.assert_close(same.depths_b1hw[0], canonical_depth)
    torch.testing.assert_close(same.T_source_target_bs44, canonical_motion)
    torch.testing.assert_close(twice.depths_b1hw[0], 2 * canonical_depth)
    forward = twice.T_source_target_bs44[..., 2, 3] / canonical_motion[..., 2, 3]
    assert forward.median().item() == pytest.approx(2.0, rel=0.05)
    with pytest.raises(ValueError, match="no intrinsics"):
        model(frames)


def test_depth_alone() -> None:
    model = build_model(DEPTH_ONLY, WIDTH, HEIGHT)
    output = model(random_windows(2, frames=1))
    assert model.pose_net is None and not output.has_motion
    assert output.T_source_target_bs44.shape == (2, 0, 4, 4)
    assert output.depths_b1hw[0].shape == (2, 1, HEIGHT, WIDTH)


@pytest.mark.parametrize("frozen", ["stem", "depth"])
def test_frozen_layers_keep_weights_and_statistics(
    frozen: str, recipe: Path, tmp_path: Path, wall_set: PreparedSet
) -> None:
    changes = [f"network.frozen={frozen}", "network.sequence_length=3"]
    options = [argument for text in changes for argument in ("--set", text)]
    trainer = build(parse(["--config", str(recipe), "--out", str(tmp_path / "run"), *options]))
    model = trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    for step in range(2):
        trainer.step(trainer._batcher.training_batch(step))
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    if frozen == "depth":
        assert changed and all(name.startswith("pose_net.") for name in changed)
    else:
        fixed = ("depth_net.encoder.stem.", "depth_net.encoder.stages.0.")
        assert not any(name.startswith(fixed) for name in changed)
        assert any(name.startswith("depth_net.encoder.stages.1.") for name in changed)


# --- motion from features ------------------------------------------------------------------------


def feature_model() -> SfmModel:
    return build_model(FEATURES, WIDTH, HEIGHT).eval()


def test_features_of_frames_give_depth_and_motion_of_the_window() -> None:
    """The two graphs of a bundle, frame after frame, against one pass over the window."""
    model, frames = feature_model(), random_windows(1)
    with torch.no_grad():
        output = model(frames, camera(0.5 * WIDTH))
        parts = [model.depth_and_features(frames[:, i]) for i in range(3)]
        motion = model.motion_of_features(torch.stack([f for _, f in parts], dim=1))
    assert parts[0][1].shape == (1, 49, HEIGHT // STRIDE, WIDTH // STRIDE)
    torch.testing.assert_close(parts[1][0], output.depths_b1hw[0])
    torch.testing.assert_close(motion, output.T_source_target_bs44)
    torch.testing.assert_close(motion, model.motion(frames))


def random_cells(rows: int = 6, columns: int = 12) -> Tensor:
    return F.normalize(torch.randn(2, 32, rows, columns), dim=1)


def test_cells_are_found_where_they_went() -> None:
    """Rows and columns of unlike cells are shifted; each must be found again, without spread."""
    cells = random_cells()
    moved = cells.roll((1, 3), dims=(2, 3))
    flow, spread, likely = match(cells, moved)
    torch.testing.assert_close(likely.sum(dim=-1), torch.ones(2, 6, 12))
    inside = (..., slice(0, -1), slice(0, -3))
    expected = torch.tensor([3.0, 1.0])[:, None, None].expand(2, 2, 5, 9)
    torch.testing.assert_close(flow[inside], expected, atol=0.02, rtol=0)
    assert spread[inside].max() < 0.3
    assert match(cells, torch.zeros_like(cells))[1].min() > 1.0  # it may be anywhere
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(match(cells, moved)[0], flow)
    half = F.normalize(cells + cells.roll(-1, dims=3), dim=1)  # between a cell and the next
    torch.testing.assert_close(
        match(half, cells)[0][:, 0, :, :-1].mean(), torch.tensor(0.5), atol=0.05, rtol=0
    )


def test_products_are_those_of_the_cells_around() -> None:
    """Against a loop over the places; outside of the image they are 0."""
    first, second = random_cells(3, 20), random_cells(3, 20)
    across, down = REACH
    found = products_around(first, second).unflatten(-1, (2 * down + 1, 2 * across + 1))
    for row, column, y, x in itertools.product(
        range(3), (0, 7, 19), range(-down, down + 1), range(-across, across + 1)
    ):
        inside = 0 <= row + y < 3 and 0 <= column + x < 20
        expected = torch.zeros(2)
        if inside:
            expected = (first[..., row, column] * second[..., row + y, column + x]).sum(dim=1)
        torch.testing.assert_close(found[:, row, column, y + down, x + across], expected)


def test_what_is_a_little_alike_far_away_does_not_move_a_match() -> None:
    """A cell is found where it went, and with a tenth of the weight four columns away."""
    cells = random_cells()
    decoy = cells.clone()
    decoy[..., 5] = F.normalize(cells[..., 5] + 1.9 * cells[..., 1], dim=1)
    flow, spread, _ = match(cells, decoy)
    # The mean of all matches would be off by 0.3.
    assert spread[:, 0, :, 1].min() > 0.8 > 0.6 > spread[:, 2, :, 1].max()
    assert flow[:, 0, :, 1].max() < 0.15


@pytest.mark.parametrize("length", [3, 5])
def test_reversed_windows_have_inverse_motions(length: int) -> None:
    config = dataclasses.replace(FEATURES, sequence_length=length, translation_factor=1.0)
    model, frames = build_model(config, WIDTH, HEIGHT).eval(), random_windows(1, frames=length)
    with torch.no_grad():
        features = model.depth_and_features(frames.flatten(0, 1))[1].unflatten(0, (1, length))
        forward = model.pose_net(features).vectors_bm6
        backward = model.pose_net(features.flip(1)).vectors_bm6
    assert forward.shape == (1, length - 1, 6) and forward.abs().max() > 1e-3
    torch.testing.assert_close(backward, -forward.flip(1))


def test_the_third_frame_is_seen() -> None:
    model, frames = feature_model(), random_windows(1)
    with torch.no_grad():
        motion = model.motion(frames)
        other = model.motion(torch.cat([frames[:, :2], frames[:, :1]], dim=1))
    assert (motion[:, 0] - other[:, 0]).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth": "dispnet", "pose": "features"}, "needs an encoder"),
        ({"depth": "dispnet", "frozen": "stem"}, "lite encoder"),
        ({"pose": "features", "explainability_mask": True}, "stacked"),
        ({"pose": "features"}, "needs network.canonical_focal"),
    ],
)
def test_impossible_parts_are_refused(change: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        build_model(dataclasses.replace(LITE, **change), WIDTH, HEIGHT)
