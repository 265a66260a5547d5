"""Prepared sets, batches of them and their comparison, for the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from single_warp import warp

from training.batch import Batch
from training.config import TrainConfig, load_config
from training.data.batcher import Batcher, build_batcher
from training.data.sequence import PreparedFrame, PreparedSet
from training.preparation.writer import PreparedWriter

Frames = Callable[..., Iterator[PreparedFrame]]
"""Type of the fixture ``wall_frames``."""


def write_set(
    path: Path, frames: Iterable[PreparedFrame], camera_height_m: float | None = None
) -> PreparedSet:
    """A set of 64x64 with one source."""
    writer = PreparedWriter(path, 64, 64)
    writer.add("recording", frames, "closed form", camera_height_m=camera_height_m)
    return writer.finish()


def assert_same_files(a: Path, b: Path) -> None:
    assert {p.name for p in a.iterdir()} == {p.name for p in b.iterdir()}
    for path in a.iterdir():
        assert path.read_bytes() == (b / path.name).read_bytes(), path.name


def make_config(*overrides: str, **data: object) -> TrainConfig:
    """A recipe for 64x64 and batches of four; the keywords are its block ``data``."""
    values = {"width": 64, "height": 64, "optim": {"batch_size": 4}, "data": data}
    return load_config(values, overrides)


def make_batcher(sets: Sequence[PreparedSet], *overrides: str, **data: object) -> Batcher:
    """Batches of these sets by `make_config`."""
    prepared = [str(prepared.path) for prepared in sets]
    return build_batcher(make_config(*overrides, prepared=prepared, **data), sets)


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


def assert_same_batch(a: Batch, b: Batch) -> None:
    for field in fields(Batch):
        first, second = getattr(a, field.name), getattr(b, field.name)
        assert (first is None) == (second is None), field.name
        if first is not None:
            torch.testing.assert_close(first, second, atol=0, rtol=0, equal_nan=True)
