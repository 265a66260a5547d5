"""Prepared sets, batches, augmentation. The oracle is a wall whose image has a closed form."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from single_warp import warp

from sfm_ros.errors import ConfigError, SourceError
from training.batch import Batch
from training.config import DataConfig, TrainConfig, load_config
from training.data.augment import (
    augment,
    draw_plan,
    flip,
    jitter_color,
    reverse,
    scale_crop,
    to_gray,
)
from training.data.batcher import Batcher
from training.data.prefetch import BatchStream
from training.data.resample import crop_batched, crop_enlarged
from training.data.sampling import CYCLE
from training.data.sequence import PreparedFrame, PreparedSet
from training.data.store import MappedFrames, open_store
from training.preparation.writer import PreparedWriter

Frames = Callable[..., Iterator[PreparedFrame]]


def make_config(*overrides: str, **data: object) -> TrainConfig:
    values = {"width": 64, "height": 64, "optim": {"batch_size": 4}, "data": data}
    return load_config(values, overrides)


def warp_error(batch: Batch) -> float:
    """Mean difference of target and warped sources by the batch's own depth, motion and K."""
    assert batch.depth_target_b1hw is not None and batch.T_source_target_bs44 is not None
    errors = []
    for source, frame in enumerate((0, 2)):
        warped, valid = warp(
            batch.rgb_clean_bn3hw[:, frame],
            batch.depth_target_b1hw,
            batch.T_source_target_bs44[:, source],
            batch.K_b33,
        )
        difference = (warped - batch.rgb_clean_bn3hw[:, 1]).abs().mean(1, keepdim=True)
        errors.append(difference[valid].mean())
    return float(torch.stack(errors).mean())


@pytest.fixture
def batch(wall_set: PreparedSet) -> Batch:
    batcher = Batcher([wall_set], make_config(prepared=["wall"]))
    return batcher.batch_of(batcher.training_windows(0))


# The prepared format


def test_what_is_written_is_read(tmp_path: Path, wall_frames: Frames) -> None:
    writer = PreparedWriter(tmp_path, 64, 32)
    writer.add("known", wall_frames(5, 64, 32), "closed form")
    writer.add(
        "unknown", wall_frames(4, 64, 32, ground_truth=False), "closed form, ground truth left out"
    )
    prepared = writer.finish()
    known, unknown = prepared.sequences
    originals = list(wall_frames(5, 64, 32))
    assert prepared.frames.shape == (9, 32, 64, 3)
    assert (known.start, known.count, unknown.start, unknown.count) == (0, 5, 5, 4)
    assert known.K == originals[0].K
    assert known.stamps_ns == tuple(f.stamp_ns for f in originals)
    assert unknown.poses is None and not unknown.has_depth
    assert known.poses is not None and prepared.depth_m is not None
    for i, original in enumerate(originals):
        assert original.T_world_camera is not None and original.depth_m is not None
        np.testing.assert_array_equal(prepared.frames[i], original.rgb)
        np.testing.assert_allclose(known.poses[i], original.T_world_camera, rtol=0, atol=0)
        np.testing.assert_allclose(prepared.depth_m[i], original.depth_m, rtol=2**-11)
    assert not prepared.depth_m[5:].any()


def test_depth_that_is_not_known_is_zero(tmp_path: Path, wall_frames: Frames) -> None:
    frame = next(wall_frames(1))
    depth = np.array(frame.depth_m)
    depth[0, :4] = [np.nan, np.inf, -1.0, 1e6]
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("a", [replace(frame, depth_m=depth)], "")
    stored = writer.finish().depth_m
    assert stored is not None
    assert stored[0, 0, :3].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(stored[0, 0, 3]) and stored[0, 0, 3] > 60_000


def test_a_jump_of_time_or_camera_begins_another_sequence(
    tmp_path: Path, wall_frames: Frames
) -> None:
    frames = list(wall_frames(9))
    frames[3:] = [replace(f, stamp_ns=f.stamp_ns + 5_000_000_000) for f in frames[3:]]
    frames[7:] = [replace(f, K=(50.0, 50.0, 31.5, 31.5)) for f in frames[7:]]
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("recording", frames, "")
    sequences = writer.finish().sequences
    assert [(s.start, s.count) for s in sequences] == [(0, 3), (3, 4), (7, 2)]
    assert len({s.name for s in sequences}) == 3


def write(path: Path, frames: Frames, stop_after: int | None = None) -> None:
    """Two rides; the second one breaks off after so many frames, as a killed process would."""
    writer = PreparedWriter(path, 64, 64)
    for name, count in (("a", 6), ("b", 8)):
        if writer.has(name):
            continue
        recording = list(frames(count))
        if name == "b" and stop_after is not None:
            writer.add(name, broken(recording[:stop_after]), "")
        writer.add(name, recording, "")
    writer.finish()


def broken(frames: list[PreparedFrame]) -> Iterator[PreparedFrame]:
    yield from frames
    raise InterruptedError("killed")


def test_a_broken_off_set_is_refused_then_resumed_to_the_same_bytes(
    tmp_path: Path, wall_frames: Frames
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write(whole, wall_frames)
    with pytest.raises(InterruptedError):
        write(cut, wall_frames, stop_after=5)
    with pytest.raises(SourceError, match="unfinished"):
        PreparedSet.open(cut)
    write(cut, wall_frames)
    assert {p.name for p in whole.iterdir()} == {p.name for p in cut.iterdir()}
    for path in whole.iterdir():
        assert path.read_bytes() == (cut / path.name).read_bytes(), path.name


def test_a_finished_set_can_be_added_to(tmp_path: Path, wall_frames: Frames) -> None:
    write(tmp_path, wall_frames)
    writer = PreparedWriter(tmp_path, 64, 64)
    with pytest.raises(SourceError, match="already"):
        writer.add("a", wall_frames(3), "")
    writer.add("c", wall_frames(3), "")
    assert [s.name for s in writer.finish().sequences] == ["a", "b", "c"]


def edit_index(path: Path, change: Callable[[dict], object]) -> None:
    values = json.loads((path / "index.json").read_text())
    change(values)
    (path / "index.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: os.truncate(p / "frames.u8", 1000), "1000 bytes"),
        (lambda p: (p / "frames.u8").unlink(), "missing"),
        (lambda p: (p / "depth.f16").unlink(), "depth.f16 is missing"),
        (lambda p: os.truncate(p / "index.json", 60), "damaged"),
        (lambda p: (p / "index.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda p: edit_index(p, lambda v: v.update(format="other/9")), "other/9"),
        (lambda p: edit_index(p, lambda v: v["sequences"][0].pop("K")), "damaged"),
        (lambda p: edit_index(p, lambda v: v["sequences"][1].update(start=2)), "starts at"),
        (lambda p: edit_index(p, lambda v: v.update(width=65)), "65x64"),
        (lambda p: edit_index(p, lambda v: v.update(sequences=[])), "promises"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, wall_frames: Frames, damage: Callable[[Path], object], message: str
) -> None:
    write(tmp_path, wall_frames)
    damage(tmp_path)
    with pytest.raises(SourceError, match=message):
        PreparedSet.open(tmp_path)


def test_what_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="prepare.py"):
        PreparedSet.open(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="not a prepared set"):
        PreparedSet.open(tmp_path)


def test_frames_of_another_size_are_refused(tmp_path: Path, wall_frames: Frames) -> None:
    with pytest.raises(SourceError, match="shape"):
        PreparedWriter(tmp_path / "a", 32, 32).add("a", wall_frames(2), "")
    with pytest.raises(SourceError, match="no frames"):
        PreparedWriter(tmp_path / "b", 64, 64).add("a", [], "")
    write(tmp_path / "c", wall_frames)
    with pytest.raises(SourceError, match="64x64.*32x32"):
        PreparedWriter(tmp_path / "c", 32, 32)


# Batches


def test_batches_depend_on_seed_and_step_alone(wall_set: PreparedSet) -> None:
    config = make_config(prepared=["wall"], reverse_probability=0.3)
    first, second = Batcher([wall_set], config), Batcher([wall_set], config)
    first.training_batch(3)
    for step in (7, 0):
        a, b = first.training_batch(step), second.training_batch(step)
        assert torch.equal(a.rgb_bn3hw, b.rgb_bn3hw) and torch.equal(a.K_b33, b.K_b33)
        assert a.T_source_target_bs44 is not None and b.T_source_target_bs44 is not None
        assert torch.equal(a.T_source_target_bs44, b.T_source_target_bs44)
    other = Batcher([wall_set], replace(config, run=replace(config.run, seed=1)))
    assert other.training_windows(7) != first.training_windows(7)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_the_batch_of_one(wall_set: PreparedSet, world: int) -> None:
    config = make_config(prepared=["wall"], reverse_probability=0.3)
    whole = Batcher([wall_set], config).training_batch(5)
    parts = [Batcher([wall_set], config, r, world).training_batch(5) for r in range(world)]
    for field in fields(Batch):
        expected = getattr(whole, field.name)
        if expected is not None:
            together = torch.cat([getattr(part, field.name) for part in parts])
            assert torch.equal(together, expected), field.name


@pytest.mark.parametrize(("rank", "world"), [(0, 3), (2, 2), (-1, 2)])
def test_processes_that_cannot_share_are_refused(
    wall_set: PreparedSet, rank: int, world: int
) -> None:
    with pytest.raises(ConfigError, match="process"):
        Batcher([wall_set], make_config(prepared=["wall"]), rank, world)


def test_every_window_has_its_turn_before_one_repeats(wall_set: PreparedSet) -> None:
    batcher = Batcher([wall_set], make_config(prepared=["wall"]))
    steps = -(-batcher.training_count // 4)
    seen = [w for step in range(steps) for w in batcher.training_windows(step)]
    epoch = seen[: batcher.training_count]
    assert len(set(epoch)) == batcher.training_count == 2 * (36 - 2)


def test_held_out_frames_are_never_trained_on(wall_set: PreparedSet) -> None:
    batcher = Batcher([wall_set], make_config(prepared=["wall"], validation_ratio=0.2))
    steps = range(-(-batcher.training_count // 4))
    trained = {w.first + i for s in steps for w in batcher.training_windows(s) for i in range(3)}
    held_out = {w.first + i for w in batcher.validation_windows(1000) for i in range(3)}
    assert trained == {*range(0, 32), *range(40, 72)}
    assert held_out == {*range(32, 40), *range(72, 80)}
    assert len(batcher.validation_windows(4)) == 4


def test_a_set_without_a_share_is_for_validation_alone(wall_set: PreparedSet) -> None:
    batcher = Batcher([wall_set, wall_set], make_config(prepared=["a", "b"], repeat=[1, 0]))
    trained = [w for step in range(50) for w in batcher.training_windows(step)]
    assert {w.set_index for w in trained} == {0}
    held_out = batcher.validation_windows(1000)
    assert sum(w.set_index == 1 for w in held_out) == 2 * (40 - 2)


def test_sets_have_their_share_of_every_batch(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("short", wall_frames(7, ground_truth=False), "")
    config = make_config(prepared=["wall", "short"], repeat=[3, 1])
    batcher = Batcher([wall_set, writer.finish()], config)
    sets = [[w.set_index for w in batcher.training_windows(s)] for s in range(CYCLE // 2)]
    assert all(row.count(1) == 1 for row in sets)
    batch = batcher.batch_of(batcher.training_windows(0))
    for known in (batch.has_depth_b, batch.has_motion_b):
        assert known is not None and known.tolist() == [1.0 - i for i in sets[0]]


def test_without_ground_truth_none_is_told(tmp_path: Path, wall_frames: Frames) -> None:
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("a", wall_frames(7, ground_truth=False), "")
    batch = Batcher([writer.finish()], make_config(prepared=["a"])).training_batch(0)
    assert batch.depth_target_b1hw is None and batch.has_depth_b is None
    assert batch.T_source_target_bs44 is None and batch.has_motion_b is None


def test_a_drive_with_poses_alone_tells_its_motion(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    writer = PreparedWriter(tmp_path, 64, 64)
    frames = [replace(frame, depth_m=None) for frame in wall_frames(7)]
    writer.add("posed", frames, "")
    posed = writer.finish()
    alone = Batcher([posed], make_config(prepared=["posed"])).training_batch(0)
    assert alone.depth_target_b1hw is None and alone.has_motion_b is not None
    assert alone.has_motion_b.tolist() == [1.0] * 4
    config = make_config(prepared=["wall", "posed"], repeat=[1, 1])
    batcher = Batcher([wall_set, posed], config)
    windows = batcher.training_windows(0)
    batch = batcher.batch_of(windows)
    assert batch.has_depth_b is not None and batch.has_motion_b is not None
    assert batch.has_depth_b.tolist() == [1.0 - w.set_index for w in windows]
    assert batch.has_motion_b.tolist() == [1.0] * len(windows)


def test_sets_that_do_not_fit_are_refused(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    with pytest.raises(ConfigError, match="64x64.*128x64"):
        Batcher([wall_set], make_config("width=128", prepared=["wall"]))
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("a", wall_frames(2), "")
    with pytest.raises(ConfigError, match="no window"):
        Batcher([writer.finish()], make_config(prepared=["a"]))


def test_ground_truth_explains_the_images(batch: Batch) -> None:
    still = replace(batch, T_source_target_bs44=torch.eye(4).expand(4, 2, 4, 4))
    assert warp_error(batch) < 0.003
    assert warp_error(still) > 0.02


def assert_same_batch(a: Batch, b: Batch) -> None:
    for field in fields(Batch):
        first, second = getattr(a, field.name), getattr(b, field.name)
        assert (first is None) == (second is None), field.name
        if first is not None:
            torch.testing.assert_close(first, second, atol=0, rtol=0, equal_nan=True)


def test_frames_on_the_device_give_the_same_batches(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    """Sets with and without ground truth, mapped from their files and copied to memory."""
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("plain", wall_frames(9, ground_truth=False), "")
    sets = [wall_set, writer.finish()]
    config = make_config(prepared=["wall", "plain"], repeat=[1, 1], reverse_probability=0.5)
    mapped = Batcher(sets, config)
    resident = Batcher(sets, replace(config, data=replace(config.data, resident="always")))
    with BatchStream(resident, 3, 6, torch.device("cpu")) as batches:
        copied = list(batches)
    assert batches.waited_s > 0
    for step, batch in enumerate(copied, start=3):
        assert_same_batch(batch, mapped.training_batch(step))


def test_nothing_of_a_batch_is_left_behind_on_the_host(wall_set: PreparedSet) -> None:
    """On torch's device without data: it refuses to mix with another one."""
    meta = torch.device("meta")
    for resident in ("always", "never"):
        config = make_config(prepared=["wall"], reverse_probability=0.5, resident=resident)
        batcher = Batcher([wall_set], config)
        with BatchStream(batcher, 0, 3, meta) as batches:
            for batch in batches:
                assert {getattr(batch, f.name).device for f in fields(Batch)} == {meta}
        assert batcher.device.type == ("meta" if resident == "always" else "cpu")


def test_sets_that_are_too_large_for_the_device_stay_in_files(
    wall_set: PreparedSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2_000_000, 9_000_000))
    assert isinstance(open_store([wall_set], gpu, "auto"), MappedFrames)
    assert "stay in the computer's memory" in capsys.readouterr().out
    assert isinstance(open_store([wall_set], gpu, "never"), MappedFrames)
    assert isinstance(open_store([wall_set], torch.device("cpu"), "auto"), MappedFrames)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("training.data.store.ResidentFrames", full)
    with pytest.raises(ConfigError, match="data.resident"):
        open_store([wall_set], gpu, "always")


def test_known_ways_are_those_of_the_poses(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    writer = PreparedWriter(tmp_path, 64, 64)
    writer.add("plain", wall_frames(9, ground_truth=False), "")
    config = make_config(prepared=["wall", "plain"], repeat=[1, 1], reverse_probability=1.0)
    batcher = Batcher([wall_set, writer.finish()], config)
    poses = wall_set.sequences[0].poses
    assert poses is not None
    for window, way in zip(
        batcher.training_windows(2), batcher.training_batch(2).distance_bs, strict=True
    ):
        if window.set_index == 1:
            assert torch.isnan(way).all()
            continue
        x, y, z = (poses[(window.first + i) % 40, :3, 3] for i in range(3))
        backwards = [np.linalg.norm(z - y), np.linalg.norm(x - y)]
        torch.testing.assert_close(way, torch.tensor(backwards, dtype=torch.float32))


# Augmentation


def test_flip_keeps_the_geometry(batch: Batch) -> None:
    flipped = flip(batch, np.array([True, True, True, True]))
    assert warp_error(flipped) == pytest.approx(warp_error(batch), abs=1e-4)
    assert warp_error(replace(flipped, K_b33=batch.K_b33)) > 0.006
    assert warp_error(replace(flipped, T_source_target_bs44=batch.T_source_target_bs44)) > 0.02


def test_flip_twice_is_nothing_and_once_is_not(batch: Batch) -> None:
    chosen = np.array([True, False, True, False])
    once = flip(batch, chosen)
    twice = flip(once, chosen)
    for name in ("rgb_bn3hw", "rgb_clean_bn3hw", "depth_target_b1hw", "T_source_target_bs44"):
        assert torch.equal(getattr(twice, name), getattr(batch, name)), name
        assert torch.equal(getattr(once, name)[1], getattr(batch, name)[1]), name
        assert not torch.equal(getattr(once, name)[0], getattr(batch, name)[0]), name
    torch.testing.assert_close(twice.K_b33, batch.K_b33)


def test_scale_crop_keeps_the_geometry(batch: Batch) -> None:
    scales = np.array([[1.0, 1.0], [1.3, 1.1], [1.25, 1.5], [1.1, 1.4]])
    offsets = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.3], [0.5, 0.5]])
    changed = scale_crop(batch, scales, offsets)
    assert changed.rgb_bn3hw.shape == batch.rgb_bn3hw.shape
    assert torch.equal(changed.rgb_bn3hw[0], batch.rgb_bn3hw[0])
    # Enlarging adds the error of the bilinear image and the nearest depth, not more.
    assert warp_error(changed) < warp_error(batch) + 0.002
    assert warp_error(replace(changed, K_b33=batch.K_b33)) > 2 * warp_error(changed)


def test_scale_crop_puts_pixels_where_the_new_calibration_says(batch: Batch) -> None:
    """A ramp of x on the wall: its image is fx X/Z + cx, before and after."""
    u = torch.arange(64.0).expand(4, 3, 3, 64, 64).contiguous()
    ramp = replace(batch, rgb_bn3hw=u, rgb_clean_bn3hw=u)
    scales, offsets = np.full((4, 2), 1.5), np.full((4, 2), 0.5)
    changed = scale_crop(ramp, scales, offsets)
    x_before = (u[0, 0, 0, 0] - ramp.K_b33[0, 0, 2]) / ramp.K_b33[0, 0, 0]
    x_after = (u[0, 0, 0, 0] - changed.K_b33[0, 0, 2]) / changed.K_b33[0, 0, 0]
    shown = changed.rgb_clean_bn3hw[0, 0, 0, 32]
    expected = torch.tensor(np.interp(x_after, x_before, u[0, 0, 0, 0]), dtype=torch.float32)
    torch.testing.assert_close(shown, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("nearest", [False, True])
def test_all_windows_at_once_are_cut_like_one_by_one(nearest: bool) -> None:
    images = torch.rand(3, 2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    sizes = np.array([[30, 20], [37, 20], [45, 29]])
    corners = np.array([[0, 0], [7, 0], [4, 9]])
    expected = crop_enlarged(images, sizes, corners, nearest)
    at_once = crop_batched(images, sizes, corners, nearest)
    torch.testing.assert_close(at_once, expected, atol=2e-6, rtol=0)
    assert torch.equal(at_once[0], images[0])
    assert not torch.equal(at_once[1], images[1])


def test_reverse_keeps_the_geometry(batch: Batch) -> None:
    reversed_batch = reverse(batch, np.array([True] * 4))
    assert torch.equal(reversed_batch.rgb_bn3hw[:, 1], batch.rgb_bn3hw[:, 1])
    assert torch.equal(reversed_batch.rgb_bn3hw[:, 0], batch.rgb_bn3hw[:, 2])
    assert warp_error(reversed_batch) == pytest.approx(warp_error(batch), abs=1e-4)
    old = batch.T_source_target_bs44
    assert warp_error(replace(reversed_batch, T_source_target_bs44=old)) > 0.02


def test_all_of_it_together_keeps_the_geometry(wall_set: PreparedSet) -> None:
    config = make_config(prepared=["wall"], reverse_probability=0.5, scale_crop=1.2)
    batcher = Batcher([wall_set], config)
    errors = [warp_error(batcher.training_batch(step)) for step in range(6)]
    assert max(errors) < 0.006


def test_color_changes_what_the_networks_see_alone(batch: Batch) -> None:
    still = replace(batch, rgb_clean_bn3hw=batch.rgb_clean_bn3hw[:, :1].expand(-1, 3, -1, -1, -1))
    config = DataConfig(
        flip_probability=0.0, scale_crop=1.0, color_probability=1.0, gray_probability=0.0
    )
    rng = np.random.default_rng(0)
    changed = augment(replace(still, rgb_bn3hw=still.rgb_clean_bn3hw), draw_plan(config, 4, rng))
    assert torch.equal(changed.rgb_clean_bn3hw, still.rgb_clean_bn3hw)
    assert float((changed.rgb_bn3hw - changed.rgb_clean_bn3hw).abs().mean()) > 0.01
    assert torch.equal(changed.rgb_bn3hw[:, 0], changed.rgb_bn3hw[:, 2])
    assert 0.0 <= float(changed.rgb_bn3hw.min()) and float(changed.rgb_bn3hw.max()) <= 1.0


def test_no_jitter_changes_nothing(batch: Batch) -> None:
    same = jitter_color(batch.rgb_bn3hw, np.array([True] * 4), np.ones((4, 4)))
    torch.testing.assert_close(same, batch.rgb_bn3hw, atol=1e-6, rtol=0)


def test_brightness_and_gamma_alone_keep_the_order_of_gray_values() -> None:
    """The reports' augmentation: 65 % of the windows, and a * x^g of each channel by itself."""
    config = DataConfig(color_probability=0.65, color_changes=("brightness", "gamma"))
    plan = draw_plan(config, 10_000, np.random.default_rng(0))
    assert plan.color_b.mean() == pytest.approx(0.65, abs=0.02)
    chosen = plan.jitter_b4[:, [0, 2]]
    assert (plan.jitter_b4[:, [1, 3]] == 1.0).all()
    assert chosen.min() < 0.81 and chosen.max() > 1.19 and chosen.std(axis=0).min() > 0.1
    with pytest.raises(ConfigError, match="hue"):
        make_config(color_changes=["brightness", "hue"])
    brightness, _, gamma, _ = plan.jitter_b4[0]
    rgb = torch.rand(1, 3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    changed = jitter_color(rgb, np.array([True]), plan.jitter_b4[:1])
    torch.testing.assert_close(changed, (rgb * brightness).clamp(max=1.0) ** gamma)


def test_gray_has_three_equal_channels(batch: Batch) -> None:
    gray = to_gray(batch.rgb_bn3hw, np.array([True, False, False, False]))
    assert torch.equal(gray[0, :, 0], gray[0, :, 2])
    assert torch.equal(gray[1], batch.rgb_bn3hw[1])
    config = DataConfig(gray_probability=1.0, color_probability=0.0)
    both = augment(batch, draw_plan(config, 4, np.random.default_rng(0)))
    assert torch.equal(both.rgb_bn3hw, both.rgb_clean_bn3hw)
    assert torch.equal(both.rgb_bn3hw[:, :, 0], both.rgb_bn3hw[:, :, 1])


def test_an_even_window_cannot_be_reversed(batch: Batch) -> None:
    even = replace(batch, rgb_bn3hw=batch.rgb_bn3hw[:, :2])
    with pytest.raises(ValueError, match="middle"):
        reverse(even, np.array([True] * 4))
