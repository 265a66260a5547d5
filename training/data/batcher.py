"""Batches of windows as a pure function of the step: a resumed run gets the same ones.

A batch is made in two halves. `Batcher.raw` gathers the windows of a step from the store as uint8
images, a quarter of the bytes. `Batcher.finish` converts them to float and augments them, on
whatever device they are by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, source_indices, target_index
from training.config import DataConfig, TrainConfig
from training.data.augment import augment, draw_plan
from training.data.sampling import TrainingWindow, WindowSampler
from training.data.sequence import PreparedSet, SequenceRecord
from training.data.store import FrameStore, open_store

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RawBatch:
    """Windows as they are stored; `Batcher.finish` makes a `Batch` of them.

    Attributes:
        rgb_bnhw3: uint8.
        fields: the other fields of `Batch` by name, depth as float16 and only what is known.
    """

    rgb_bnhw3: Tensor
    fields: dict[str, Tensor]

    def map(self, change: Callable[[Tensor], Tensor]) -> RawBatch:
        """The same with every tensor changed."""
        fields = {name: change(tensor) for name, tensor in self.fields.items()}
        return RawBatch(change(self.rgb_bnhw3), fields)

    def to(self, device: torch.device) -> RawBatch:
        """The same on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Batcher:
    """Gathers windows from a store and makes batches of them.

    Attributes:
        sets: in the order of ``data.prepared``.
        sampler: lists the windows of these sets.
        store: holds their frames.
        data: how batches are augmented.
        batch_size: windows of a step, of all processes together.
        slots: which of them this process makes.
        seed: of the augmentation.
        canonical_height_m: all lengths are those seen from this height above the road: a scene
            looks the same if it and the height of the camera grow alike. 0: as recorded.
    """

    sets: Sequence[PreparedSet]
    sampler: WindowSampler
    store: FrameStore
    data: DataConfig
    batch_size: int
    slots: slice
    seed: int
    canonical_height_m: float = 0.0

    @property
    def steps_per_epoch(self) -> float:
        """Steps until a window has been seen once on average."""
        return self.sampler.training_count / self.batch_size

    def training_windows(self, step: int) -> list[TrainingWindow]:
        """This process's windows of a step."""
        first = step * self.batch_size
        return self.sampler.training(range(first + self.slots.start, first + self.slots.stop))

    def training_batch(self, step: int) -> Batch:
        """The augmented batch of a step; depends on the seed, the step and the data alone."""
        return self.finish(self.raw(self.training_windows(step)), step)

    def batch_of(self, windows: Sequence[TrainingWindow]) -> Batch:
        """These windows without augmentation."""
        return _to_float(self.raw(windows))

    def raw(self, windows: Sequence[TrainingWindow]) -> RawBatch:
        """These windows as they are stored, on the device of the store."""
        length, target = self.sampler.length, target_index(self.sampler.length)
        any_depth, any_poses, any_speeds = self._known
        rgb = self.store.frames([(w.set_index, w.first) for w in windows], length)
        records = [self._record(window) for window in windows]
        motions = [self.gt_motion(window) for window in windows]
        fields = {"K_b33": _tensor([_matrix(record) for record in records])}
        if any_depth:
            indices = [(w.set_index, w.first + target) for w in windows]
            fields["depth_target_b1hw"] = self._lengths(self.store.depths(indices), windows)
            fields["has_depth_b"] = _tensor([record.has_depth for record in records])
        if any_poses:
            unknown = np.tile(np.eye(4), (length - 1, 1, 1))
            known = [unknown if motion is None else motion for motion in motions]
            fields["T_source_target_bs44"] = _tensor(known)
            fields["has_motion_b"] = _tensor([motion is not None for motion in motions])
        if any_poses or any_speeds:
            fields["distance_bs"] = _tensor(list(map(self._distance, windows, motions)))
        return RawBatch(rgb, fields).to(self.store.device)

    def finish(self, raw: RawBatch, step: int) -> Batch:
        """Augment the raw windows of a step on the device they are on."""
        rng = np.random.default_rng([self.seed, 1, step])
        plan = draw_plan(self.data, self.batch_size, rng)
        return augment(_to_float(raw), plan.part(self.slots))

    def gt_motion(self, window: TrainingWindow) -> Floats | None:
        """(s, 4, 4) T_source_target = inv(T_world_source) @ T_world_target, or None if unknown."""
        record = self._record(window)
        if record.poses is None:
            return None
        T_world = record.poses[self._frames_of(window)]
        T_world_target = T_world[target_index(self.sampler.length)]
        motion = np.linalg.inv(T_world[source_indices(self.sampler.length)]) @ T_world_target
        motion[:, :3, 3] *= self._length_factor(window)
        return np.asarray(motion, dtype=np.float64)

    def _distance(self, window: TrainingWindow, motion: Floats | None) -> Floats:
        """(s,) meters to each source, by the motion, else by the speeds; NaN if unknown."""
        length, record = self.sampler.length, self._record(window)
        if motion is not None:
            return np.linalg.norm(motion[:, :3, 3], axis=1)
        if record.speeds_m_s is None:
            return np.full(length - 1, np.nan)
        frames = self._frames_of(window)
        speeds = np.array(record.speeds_m_s[frames])
        # Trapezoids; the path is straight at this scale.
        steps = (speeds[1:] + speeds[:-1]) / 2 * np.diff(record.stamps_ns[frames]) * 1e-9
        steps *= self._length_factor(window)
        traveled = np.concatenate([[0.0], np.cumsum(steps)])
        return np.abs(traveled[source_indices(length)] - traveled[target_index(length)])

    def _lengths(self, depth_b1hw: Tensor, windows: Sequence[TrainingWindow]) -> Tensor:
        """Depth as the batch has it."""
        if not self.canonical_height_m:
            return depth_b1hw
        factors = depth_b1hw.new_tensor(
            [self._length_factor(window) for window in windows], dtype=torch.float32
        )
        return depth_b1hw * factors.view(-1, 1, 1, 1)

    def _length_factor(self, window: TrainingWindow) -> float:
        """From meters to the lengths of the batch."""
        height_m = self._record(window).camera_height_m
        if not self.canonical_height_m or height_m is None:
            return 1.0
        return self.canonical_height_m / height_m

    @cached_property
    def _known(self) -> tuple[bool, bool, bool]:
        """Whether any sequence has depth, poses, speeds."""
        records = [record for prepared in self.sets for record in prepared.sequences]
        return (
            any(record.has_depth for record in records),
            any(record.poses is not None for record in records),
            any(record.speeds_m_s is not None for record in records),
        )

    def _record(self, window: TrainingWindow) -> SequenceRecord:
        return self.sets[window.set_index].sequences[window.sequence]

    def _frames_of(self, window: TrainingWindow) -> slice:
        """Indices of the window's frames within their sequence."""
        first = window.first - self._record(window).start
        return slice(first, first + self.sampler.length)


def build_batcher(
    config: TrainConfig,
    sets: Sequence[PreparedSet],
    device: torch.device = CPU,
    rank: int = 0,
    world: int = 1,
) -> Batcher:
    """The batches of a recipe, with the frames on the device if ``data.resident`` asks for it.

    Args:
        config: the recipe.
        sets: in the order of ``data.prepared``.
        device: where the training runs.
        rank, world: index of this process and number of processes. Each makes its own part of
            every batch; the parts in a row are the batch that one process would make.

    Raises:
        ConfigError: a set has another size or no window, the processes cannot divide a batch
            evenly, or the sets do not fit on the device.
    """
    for prepared in sets:
        if (prepared.width, prepared.height) != (config.width, config.height):
            raise ConfigError(
                f"the prepared set {prepared.path} is {prepared.width}x{prepared.height}, the "
                f"recipe expects {config.width}x{config.height}; prepare it in that size, or "
                "change 'width' and 'height'"
            )
        _check_heights(prepared, config.network.canonical_height)
    return Batcher(
        sets=sets,
        sampler=WindowSampler(sets, config.data, config.network.sequence_length, config.run.seed),
        store=open_store(sets, device, config.data.resident),
        data=config.data,
        batch_size=config.optim.batch_size,
        slots=_slots_of(rank, world, config.optim.batch_size),
        seed=config.run.seed,
        canonical_height_m=config.network.canonical_height,
    )


def _check_heights(prepared: PreparedSet, canonical_height_m: float) -> None:
    unknown = [r.name for r in prepared.sequences if r.camera_height_m is None]
    if canonical_height_m and unknown:
        raise ConfigError(
            f"network.canonical_height is {canonical_height_m:g} m, and the prepared set "
            f"{prepared.path} does not hold the height of the camera of {unknown[0]}; prepare it "
            "with --camera-height into a new folder, or set network.canonical_height to 0"
        )


def _to_float(raw: RawBatch) -> Batch:
    rgb = raw.rgb_bnhw3.permute(0, 1, 4, 2, 3).contiguous().to(torch.float32).mul_(1.0 / 255.0)
    fields = {name: tensor.to(torch.float32) for name, tensor in raw.fields.items()}
    return Batch(rgb_bn3hw=rgb, rgb_clean_bn3hw=rgb, **fields)


def _tensor(rows: Sequence[Floats] | Sequence[bool]) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32))


def _matrix(record: SequenceRecord) -> Floats:
    fx, fy, cx, cy = record.K
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _slots_of(rank: int, world: int, batch_size: int) -> slice:
    """The slots of a batch that a process fills."""
    if not 0 <= rank < world:
        raise ConfigError(f"process {rank} of {world}: expected 0 to {world - 1}")
    size, rest = divmod(batch_size, world)
    if rest:
        raise ConfigError(
            f"'optim.batch_size' is {batch_size}, which {world} processes cannot divide evenly; "
            f"choose a multiple of {world}"
        )
    return slice(rank * size, (rank + 1) * size)
