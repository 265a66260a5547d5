"""Windows and batches as a function of the step, and the stores and streams behind them."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from prepared_sets import (
    Frames,
    assert_same_batch,
    make_batcher,
    make_config,
    warp_error,
    write_set,
)

from sfm_ros.errors import ConfigError
from training.batch import Batch
from training.data.ahead import map_ahead
from training.data.batcher import build_batcher
from training.data.prefetch import BatchStream
from training.data.sampling import CYCLE
from training.data.sequence import PreparedSet
from training.data.store import FrameStore, open_store


@pytest.fixture
def plain_set(tmp_path: Path, wall_frames: Frames) -> PreparedSet:
    """Nine frames without ground truth."""
    return write_set(tmp_path / "plain", wall_frames(9, ground_truth=False))


# Windows


def test_batches_depend_on_seed_and_step_alone(wall_set: PreparedSet) -> None:
    first, second = (make_batcher([wall_set], reverse_probability=0.3) for _ in range(2))
    first.training_batch(3)
    for step in (7, 0):
        a, b = first.training_batch(step), second.training_batch(step)
        assert torch.equal(a.rgb_bn3hw, b.rgb_bn3hw) and torch.equal(a.K_b33, b.K_b33)
        assert a.T_source_target_bs44 is not None and b.T_source_target_bs44 is not None
        assert torch.equal(a.T_source_target_bs44, b.T_source_target_bs44)
    other = make_batcher([wall_set], "run.seed=1", reverse_probability=0.3)
    assert other.training_windows(7) != first.training_windows(7)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_divide_the_batch_of_one(wall_set: PreparedSet, world: int) -> None:
    config = make_config(prepared=["wall"], reverse_probability=0.3)
    whole = build_batcher(config, [wall_set]).training_batch(5)
    parts = [
        build_batcher(config, [wall_set], rank=rank, world=world).training_batch(5)
        for rank in range(world)
    ]
    for field in fields(Batch):
        expected = getattr(whole, field.name)
        if expected is not None:
            together = torch.cat([getattr(part, field.name) for part in parts])
            assert torch.equal(together, expected), field.name


@pytest.mark.parametrize(("rank", "world"), [(0, 3), (2, 2), (-1, 2)])
def test_indivisible_batch_is_refused(wall_set: PreparedSet, rank: int, world: int) -> None:
    with pytest.raises(ConfigError, match="process"):
        build_batcher(make_config(prepared=["wall"]), [wall_set], rank=rank, world=world)


def test_lengths_of_a_batch_are_those_from_one_height(tmp_path: Path, wall_frames: Frames) -> None:
    """By similarity: half as far and half as long from twice the height."""
    sets = [write_set(tmp_path / "high", wall_frames(9), camera_height_m=3.3)]
    own = make_batcher(sets)
    canonical = make_batcher(sets, "network.canonical_height=1.65", "network.canonical_focal=0.5")
    windows = own.training_windows(0)
    a, b = (batcher.batch_of(windows) for batcher in (own, canonical))
    assert torch.equal(a.rgb_bn3hw, b.rgb_bn3hw)
    assert a.depth_target_b1hw is not None and b.depth_target_b1hw is not None
    torch.testing.assert_close(b.depth_target_b1hw, a.depth_target_b1hw / 2)
    assert a.T_source_target_bs44 is not None and b.T_source_target_bs44 is not None
    halved = a.T_source_target_bs44.clone()
    halved[..., :3, 3] /= 2
    torch.testing.assert_close(b.T_source_target_bs44, halved)
    assert a.distance_bs is not None and b.distance_bs is not None
    torch.testing.assert_close(b.distance_bs, a.distance_bs / 2)
    assert warp_error(b) == pytest.approx(warp_error(a), abs=1e-4)


def test_set_without_the_height_of_its_camera_is_refused(plain_set: PreparedSet) -> None:
    with pytest.raises(ConfigError, match="does not hold the height .* --camera-height"):
        make_batcher([plain_set], "network.canonical_height=1.65")


def test_no_window_repeats_within_an_epoch(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set])
    count = batcher.sampler.training_count
    seen = [w for step in range(-(-count // 4)) for w in batcher.training_windows(step)]
    assert len(set(seen[:count])) == count == 2 * (36 - 2)


def test_held_out_frames_are_never_trained_on(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set], validation_ratio=0.2)
    steps = range(-(-batcher.sampler.training_count // 4))
    trained = {w.first + i for s in steps for w in batcher.training_windows(s) for i in range(3)}
    held_out = {w.first + i for w in batcher.sampler.validation(1000) for i in range(3)}
    assert trained == {*range(0, 32), *range(40, 72)}
    assert held_out == {*range(32, 40), *range(72, 80)}
    assert len(batcher.sampler.validation(4)) == 4


def test_set_with_ratio_zero_is_held_out(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set, wall_set], set_ratios=[1, 0])
    trained = [w for step in range(50) for w in batcher.training_windows(step)]
    assert {w.set_index for w in trained} == {0}
    held_out = batcher.sampler.validation(1000)
    assert sum(w.set_index == 1 for w in held_out) == 2 * (40 - 2)


def test_every_batch_has_the_ratios_of_the_sets(
    wall_set: PreparedSet, plain_set: PreparedSet
) -> None:
    batcher = make_batcher([wall_set, plain_set], set_ratios=[3, 1])
    sets = [[w.set_index for w in batcher.training_windows(s)] for s in range(CYCLE // 2)]
    assert all(row.count(1) == 1 for row in sets)
    batch = batcher.batch_of(batcher.training_windows(0))
    for known in (batch.has_depth_b, batch.has_motion_b):
        assert known is not None and known.tolist() == [1.0 - i for i in sets[0]]


def test_unfit_sets_are_refused(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    with pytest.raises(ConfigError, match="64x64.*128x64"):
        make_batcher([wall_set], "width=128")
    with pytest.raises(ConfigError, match="no window"):
        make_batcher([write_set(tmp_path, wall_frames(2))])


# Ground truth


def test_set_without_ground_truth_gives_none(plain_set: PreparedSet) -> None:
    batch = make_batcher([plain_set]).training_batch(0)
    assert batch.depth_target_b1hw is None and batch.has_depth_b is None
    assert batch.T_source_target_bs44 is None and batch.has_motion_b is None


def test_poses_alone_give_the_motion(
    tmp_path: Path, wall_set: PreparedSet, wall_frames: Frames
) -> None:
    posed = write_set(tmp_path, (replace(frame, depth_m=None) for frame in wall_frames(7)))
    alone = make_batcher([posed]).training_batch(0)
    assert alone.depth_target_b1hw is None and alone.has_motion_b is not None
    assert alone.has_motion_b.tolist() == [1.0] * 4
    batcher = make_batcher([wall_set, posed], set_ratios=[1, 1])
    windows = batcher.training_windows(0)
    batch = batcher.batch_of(windows)
    assert batch.has_depth_b is not None and batch.has_motion_b is not None
    assert batch.has_depth_b.tolist() == [1.0 - w.set_index for w in windows]
    assert batch.has_motion_b.tolist() == [1.0] * len(windows)


def test_ground_truth_explains_the_images(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set])
    batch = batcher.batch_of(batcher.training_windows(0))
    still = replace(batch, T_source_target_bs44=torch.eye(4).expand(4, 2, 4, 4))
    assert warp_error(batch) < 0.003
    assert warp_error(still) > 0.02


def test_distances_are_those_of_the_poses(wall_set: PreparedSet, plain_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set, plain_set], set_ratios=[1, 1], reverse_probability=1.0)
    poses = wall_set.sequences[0].poses
    distances = batcher.training_batch(2).distance_bs
    assert poses is not None and distances is not None
    for window, distance in zip(batcher.training_windows(2), distances, strict=True):
        if window.set_index == 1:
            assert torch.isnan(distance).all()
            continue
        x, y, z = (poses[(window.first + i) % 40, :3, 3] for i in range(3))
        backwards = [np.linalg.norm(z - y), np.linalg.norm(x - y)]
        torch.testing.assert_close(distance, torch.tensor(backwards, dtype=torch.float32))


# Stores and streams


def test_resident_frames_give_the_same_batches(
    wall_set: PreparedSet, plain_set: PreparedSet
) -> None:
    """Sets with and without ground truth, mapped from their files and copied to memory."""
    sets, data = [wall_set, plain_set], {"set_ratios": [1, 1], "reverse_probability": 0.5}
    mapped = make_batcher(sets, **data)
    resident = make_batcher(sets, resident="always", **data)
    with BatchStream(resident, 3, 6, torch.device("cpu")) as batches:
        copied = list(batches)
    assert batches.waited_s > 0
    for step, batch in enumerate(copied, start=3):
        assert_same_batch(batch, mapped.training_batch(step))


def test_no_tensor_is_left_on_the_host(wall_set: PreparedSet) -> None:
    """On torch's device without data: it refuses to mix with another one."""
    meta = torch.device("meta")
    for resident in ("always", "never"):
        config = make_config(prepared=["wall"], reverse_probability=0.5, resident=resident)
        batcher = build_batcher(config, [wall_set], meta)
        with BatchStream(batcher, 0, 3, meta) as batches:
            for batch in batches:
                assert {getattr(batch, f.name).device for f in fields(Batch)} == {meta}
        assert batcher.store.device.type == ("meta" if resident == "always" else "cpu")


def test_sets_too_large_for_the_device_stay_in_files(
    wall_set: PreparedSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2_000_000, 9_000_000))
    assert is_mapped(open_store([wall_set], gpu, "auto"), wall_set)
    assert "stay in host memory" in capsys.readouterr().out
    assert is_mapped(open_store([wall_set], gpu, "never"), wall_set)
    assert is_mapped(open_store([wall_set], torch.device("cpu"), "auto"), wall_set)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("training.data.store.resident_store", full)
    with pytest.raises(ConfigError, match="data.resident"):
        open_store([wall_set], gpu, "always")


def is_mapped(store: FrameStore, prepared: PreparedSet) -> bool:
    return store.frames_of_set[0].data_ptr() == prepared.frames.ctypes.data


def test_map_ahead_keeps_order_and_raises_errors() -> None:
    assert list(map_ahead(lambda i: 2 * i, range(20), threads=3, ahead=4)) == [*range(0, 40, 2)]
    results = map_ahead(lambda i: 1 // (i - 2), range(9), threads=2, ahead=2)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_ahead_ends_its_threads_when_closed() -> None:
    before = threading.active_count()
    results = map_ahead(lambda i: i, iter(int, 1), threads=2, ahead=2)
    assert next(results) == 0 and threading.active_count() > before
    results.close()
    assert threading.active_count() == before
