"""Batches of windows as a pure function of the step: a resumed run sees what it would have seen.

A batch is made in two halves. `Batcher.raw` gathers the windows of a step from the store: uint8
images, a quarter of the bytes. `Batcher.finish` turns them into colors and augments them, on
whatever device they are by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, source_indices, target_index
from training.config import TrainConfig
from training.data.augment import augment, draw_plan
from training.data.sampling import Window, WindowSampler
from training.data.sequence import PreparedSet, SequenceRecord
from training.data.store import FrameStore, MappedFrames, open_store


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RawBatch:
    """Windows as they are stored; `Batcher.finish` makes a `Batch` of them.

    Attributes:
        rgb_bnhw3: uint8.
        depth_target_b1hw: float16 meters, 0 unknown; None where no set has any ground truth.
        K_b33, T_source_target_bs44, has_depth_b, has_motion_b, distance_bs: as in `Batch`.
    """

    rgb_bnhw3: Tensor
    K_b33: Tensor
    depth_target_b1hw: Tensor | None = None
    T_source_target_bs44: Tensor | None = None
    has_depth_b: Tensor | None = None
    has_motion_b: Tensor | None = None
    distance_bs: Tensor | None = None

    def pinned(self) -> RawBatch:
        """The same in memory from which a GPU can fetch it while it computes."""
        return self._each(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device) -> RawBatch:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change) -> RawBatch:  # type: ignore[no-untyped-def]
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: change(v) for n, v in values.items() if v is not None})


class Batcher:
    """Cuts prepared sets into windows (see `WindowSampler`) and makes batches of them."""

    def __init__(
        self, sets: Sequence[PreparedSet], config: TrainConfig, rank: int = 0, world: int = 1
    ) -> None:
        """Check that the sets fit the recipe, and list their windows.

        Args:
            sets: in the order of ``data.prepared``.
            rank, world: which of how many processes this is. Each makes its own part of every
                batch; the parts of a step, put in a row, are the batch one process would make.

        Raises:
            ConfigError: a set has another size or no window, or the processes cannot share a
                batch evenly.
        """
        self._sets = list(sets)
        self._config = config
        self._length = config.network.sequence_length
        self._shard = _shard(config, rank, world)
        for prepared in self._sets:
            _check_fits(prepared, config)
        self._sampler = WindowSampler(self._sets, config)
        self._store: FrameStore = MappedFrames(self._sets)
        self._store_for: torch.device | None = None
        records = [record for prepared in self._sets for record in prepared.sequences]
        self._has_depth = any(r.has_depth for r in records)
        self._has_motion = any(r.poses is not None for r in records)
        self._has_distance = any(r.poses is not None or r.speeds_m_s is not None for r in records)

    @property
    def training_count(self) -> int:
        """Windows to train on, of all sets."""
        return self._sampler.training_count

    @property
    def validation_count(self) -> int:
        """Windows held out, of all sets."""
        return self._sampler.validation_count

    @property
    def steps_per_epoch(self) -> float:
        """Steps until a window has been seen once on average."""
        return self.training_count / self._config.optim.batch_size

    @property
    def device(self) -> torch.device:
        """Where the frames lie, and where batches are made unless told otherwise."""
        return self._store.device

    def reside_on(self, device: torch.device) -> None:
        """Bring the frames to a device, where ``data.resident`` wants it and they fit."""
        if device != self._store_for:
            self._store = open_store(self._sets, device, self._config.data.resident)
            self._store_for = device

    def training_windows(self, step: int) -> list[Window]:
        """This process's windows of a step."""
        begin = step * self._config.optim.batch_size
        return self._sampler.training(range(begin + self._shard.start, begin + self._shard.stop))

    def validation_windows(self, limit: int) -> list[Window]:
        """At most ``limit`` held-out windows, equally many of each set, evenly spread over it."""
        return self._sampler.validation(limit)

    def training_batch(self, step: int) -> Batch:
        """The augmented batch of a step; depends on the seed, the step and the data alone."""
        return self.finish(self.raw(self.training_windows(step)), step)

    def batch_of(self, windows: Sequence[Window]) -> Batch:
        """These windows as they are, without augmentation."""
        return _as_colors(self.raw(windows))

    def raw(self, windows: Sequence[Window]) -> RawBatch:
        """These windows as they are stored, on the device of the store."""
        rgb = self._store.frames([(w.set_index, w.first) for w in windows], self._length)
        values = {"K_b33": _tensor([_matrix(self._record(w)) for w in windows])}
        if self._has_depth:
            target = target_index(self._length)
            values["depth_target_b1hw"] = self._store.depths(
                [(w.set_index, w.first + target) for w in windows]
            )
            values["has_depth_b"] = _tensor([self._record(w).has_depth for w in windows])
        if self._has_motion:
            values["T_source_target_bs44"] = _tensor(
                [self._motion_or_identity(w) for w in windows]
            )
            known = [self._record(w).poses is not None for w in windows]
            values["has_motion_b"] = _tensor(known)
        if self._has_distance:
            values["distance_bs"] = _tensor([self._distance(w) for w in windows])
        return RawBatch(rgb_bnhw3=rgb, **values).to(self._store.device)

    def finish(self, raw: RawBatch, step: int) -> Batch:
        """Augment the raw windows of a step on the device they are on."""
        rng = np.random.default_rng([self._config.run.seed, 1, step])
        plan = draw_plan(self._config.data, self._config.optim.batch_size, rng)
        return augment(_as_colors(raw), plan.part(self._shard))

    def gt_motion(self, window: Window) -> npt.NDArray[np.float64] | None:
        """(s, 4, 4) T_source_target = inv(T_world_source) @ T_world_target, or None."""
        record = self._record(window)
        if record.poses is None:
            return None
        begin = window.first - record.start
        T_world = record.poses[begin : begin + self._length]
        T_world_target = T_world[target_index(self._length)]
        return np.linalg.inv(T_world[source_indices(self._length)]) @ T_world_target

    def _record(self, window: Window) -> SequenceRecord:
        return self._sets[window.set_index].sequences[window.sequence]

    def _motion_or_identity(self, window: Window) -> npt.NDArray[np.float64]:
        ground_truth = self.gt_motion(window)
        return (
            np.tile(np.eye(4), (self._length - 1, 1, 1)) if ground_truth is None else ground_truth
        )

    def _distance(self, window: Window) -> npt.NDArray[np.float64]:
        """Meters to each source, by the poses, else by the speed; NaN where there is neither."""
        ground_truth = self.gt_motion(window)
        if ground_truth is not None:
            return np.linalg.norm(ground_truth[:, :3, 3], axis=1)
        record = self._record(window)
        if record.speeds_m_s is None:
            return np.full(self._length - 1, np.nan)
        frames = slice(window.first - record.start, window.first - record.start + self._length)
        speeds = np.array(record.speeds_m_s[frames])
        # Trapezoids; the way is straight at this scale.
        steps = (speeds[1:] + speeds[:-1]) / 2 * np.diff(record.stamps_ns[frames]) * 1e-9
        way = np.concatenate([[0.0], np.cumsum(steps)])
        return np.abs(way[source_indices(self._length)] - way[target_index(self._length)])


def _as_colors(raw: RawBatch) -> Batch:
    rgb = raw.rgb_bnhw3.permute(0, 1, 4, 2, 3).contiguous().to(torch.float32).mul_(1.0 / 255.0)
    depth = raw.depth_target_b1hw
    return Batch(
        rgb_bn3hw=rgb,
        rgb_clean_bn3hw=rgb,
        K_b33=raw.K_b33,
        depth_target_b1hw=None if depth is None else depth.to(torch.float32),
        T_source_target_bs44=raw.T_source_target_bs44,
        has_depth_b=raw.has_depth_b,
        has_motion_b=raw.has_motion_b,
        distance_bs=raw.distance_bs,
    )


def _tensor(rows: Sequence[npt.NDArray[np.float64]] | Sequence[bool]) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32))


def _matrix(record: SequenceRecord) -> npt.NDArray[np.float64]:
    fx, fy, cx, cy = record.K
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _shard(config: TrainConfig, rank: int, world: int) -> slice:
    """The slots of a batch that are this process's."""
    if not 0 <= rank < world:
        raise ConfigError(f"process {rank} of {world}: expected 0 to {world - 1}")
    size, rest = divmod(config.optim.batch_size, world)
    if rest:
        raise ConfigError(
            f"'optim.batch_size' is {config.optim.batch_size}, which {world} processes cannot "
            f"share evenly; choose a multiple of {world}"
        )
    return slice(rank * size, (rank + 1) * size)


def _check_fits(prepared: PreparedSet, config: TrainConfig) -> None:
    if (prepared.width, prepared.height) != (config.width, config.height):
        raise ConfigError(
            f"the prepared set {prepared.path} is {prepared.width}x{prepared.height}, the recipe "
            f"asks for {config.width}x{config.height}; prepare it in that size, or change "
            "'width' and 'height'"
        )
