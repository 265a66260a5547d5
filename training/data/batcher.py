"""Batches of windows as a pure function of the step: a resumed run sees what it would have seen.

Nothing is remembered between two calls, so there is no sampler state to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from sfm_ros.errors import ConfigError
from training.batch import Batch, source_indices, target_index
from training.config import TrainConfig
from training.data.augment import augment, draw_plan
from training.data.sequence import PreparedSet

CYCLE = 1000
"""Length of the pattern by which sets take their turns; shares are exact to 1 / CYCLE."""


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive frames of one sequence.

    Attributes:
        set_index: which set.
        sequence: which of its sequences.
        first: number of the first frame in the set.
    """

    set_index: int
    sequence: int
    first: int


class Batcher:
    """Cuts prepared sets into windows and makes batches of them.

    The last ``validation_share`` of each sequence is kept out of the training part; a set whose
    share of the batches is zero is held out as a whole.
    """

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
        self._shard = _shard(config, rank, world)
        self._config = config
        self._length = config.network.sequence_length
        for prepared in self._sets:
            _check_fits(prepared, config)
        self._train = [self._windows(i, training=True) for i in range(len(self._sets))]
        self._held_out = [self._windows(i, training=False) for i in range(len(self._sets))]
        self._shares = _shares(config, [len(windows) for windows in self._train])
        self._turns = _turns(self._shares)
        self._has_truth = any(
            s.has_depth and s.poses is not None for p in self._sets for s in p.sequences
        )
        self._permutation = lru_cache(maxsize=4 * len(self._sets))(self._make_permutation)

    @property
    def training_count(self) -> int:
        """Windows to train on, of all sets."""
        return sum(map(len, self._train))

    @property
    def validation_count(self) -> int:
        """Windows held out, of all sets."""
        return sum(map(len, self._held_out))

    @property
    def steps_per_epoch(self) -> float:
        """Steps until a window has been seen once on average."""
        return self.training_count / self._config.optim.batch_size

    def training_windows(self, step: int) -> list[Window]:
        """This process's windows of a step. None repeats before all of its set had their turn."""
        begin = step * self._config.optim.batch_size
        windows = []
        for slot in range(begin + self._shard.start, begin + self._shard.stop):
            cycle, place = divmod(slot, CYCLE)
            set_index = int(self._turns.set_of_place[place])
            position = cycle * int(self._turns.per_cycle[set_index]) + int(
                self._turns.earlier_in_cycle[place]
            )
            candidates = self._train[set_index]
            epoch, rank = divmod(position, len(candidates))
            windows.append(candidates[int(self._permutation(set_index, epoch)[rank])])
        return windows

    def training_batch(self, step: int) -> Batch:
        """The augmented batch of a step; depends on the seed, the step and the data alone."""
        rng = np.random.default_rng([self._config.run.seed, 1, step])
        plan = draw_plan(self._config.data, self._config.optim.batch_size, rng)
        return augment(self.batch_of(self.training_windows(step)), plan.part(self._shard))

    def validation_windows(self, limit: int) -> list[Window]:
        """At most ``limit`` held-out windows, equally many of each set, evenly spread over it."""
        filled = [windows for windows in self._held_out if windows]
        chosen: list[Window] = []
        for windows in filled:
            wanted = min(len(windows), max(1, limit // len(filled)))
            places = np.linspace(0, len(windows) - 1, wanted).round().astype(int)
            chosen.extend(windows[i] for i in places)
        return chosen

    def batch_of(self, windows: Sequence[Window]) -> Batch:
        """These windows as they are, without augmentation."""
        frames = [
            self._sets[w.set_index].frames[w.first : w.first + self._length] for w in windows
        ]
        rgb_u8 = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).contiguous()
        rgb = rgb_u8.to(torch.float32).mul_(1.0 / 255.0)
        K = np.stack([self._K(w) for w in windows]).astype(np.float32)
        batch = {"rgb_bn3hw": rgb, "rgb_clean_bn3hw": rgb, "K_b33": torch.from_numpy(K)}
        if self._has_truth:
            motion = np.stack([self._motion_or_identity(w) for w in windows]).astype(np.float32)
            depth = np.stack([self._target_depth(w) for w in windows])
            known = [self._is_true(w) for w in windows]
            batch["T_source_target_bs44"] = torch.from_numpy(motion)
            batch["depth_target_b1hw"] = torch.from_numpy(depth)
            batch["has_truth_b"] = torch.tensor(known, dtype=torch.float32)
        return Batch(**batch)

    def true_motion(self, window: Window) -> npt.NDArray[np.float64] | None:
        """(s, 4, 4) T_source_target = inv(T_world_source) @ T_world_target, or None."""
        record = self._sets[window.set_index].sequences[window.sequence]
        if record.poses is None:
            return None
        begin = window.first - record.start
        T_world = record.poses[begin : begin + self._length]
        T_world_target = T_world[target_index(self._length)]
        return np.linalg.inv(T_world[source_indices(self._length)]) @ T_world_target

    def _windows(self, set_index: int, training: bool) -> list[Window]:
        shares = self._config.data.repeat
        held_out_share = self._config.data.validation_share
        if shares and shares[set_index] == 0:
            held_out_share = 1.0
        windows = []
        for number, record in enumerate(self._sets[set_index].sequences):
            held_out = round(record.count * held_out_share)
            if held_out < self._length:
                held_out = 0
            split = record.count - held_out
            begin, end = (0, split) if training else (split, record.count)
            for first in range(begin, end - self._length + 1):
                windows.append(Window(set_index, number, record.start + first))
        return windows

    def _make_permutation(self, set_index: int, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self._config.run.seed, 2, set_index, epoch])
        return rng.permutation(len(self._train[set_index]))

    def _K(self, window: Window) -> npt.NDArray[np.float64]:
        fx, fy, cx, cy = self._sets[window.set_index].sequences[window.sequence].K
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def _is_true(self, window: Window) -> bool:
        record = self._sets[window.set_index].sequences[window.sequence]
        return record.has_depth and record.poses is not None

    def _motion_or_identity(self, window: Window) -> npt.NDArray[np.float64]:
        truth = self.true_motion(window)
        return np.tile(np.eye(4), (self._length - 1, 1, 1)) if truth is None else truth

    def _target_depth(self, window: Window) -> npt.NDArray[np.float32]:
        prepared = self._sets[window.set_index]
        if prepared.depth_m is None:
            return np.zeros((1, prepared.height, prepared.width), dtype=np.float32)
        frame = window.first + target_index(self._length)
        return prepared.depth_m[frame][None].astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Turns:
    """Whose turn it is at each place of a cycle, and how often it was before in this cycle."""

    set_of_place: npt.NDArray[np.int64]
    earlier_in_cycle: npt.NDArray[np.int64]
    per_cycle: npt.NDArray[np.int64]


def _turns(shares: npt.NDArray[np.float64]) -> _Turns:
    """The set that lags most behind its share has its turn, so that batches are alike."""
    given = np.zeros(len(shares), dtype=np.int64)
    set_of_place = np.zeros(CYCLE, dtype=np.int64)
    earlier = np.zeros(CYCLE, dtype=np.int64)
    for place in range(CYCLE):
        lag = np.where(shares > 0, shares * (place + 1) - given, -np.inf)
        chosen = int(np.argmax(lag))
        set_of_place[place], earlier[place] = chosen, given[chosen]
        given[chosen] += 1
    return _Turns(set_of_place, earlier, given)


def _shares(config: TrainConfig, counts: list[int]) -> npt.NDArray[np.float64]:
    if not sum(counts):
        raise ConfigError(
            f"the prepared sets {list(config.data.prepared)} hold no window of "
            f"{config.network.sequence_length} frames to train on; prepare longer sequences"
        )
    shares = np.array(config.data.repeat or counts, dtype=np.float64)
    for name, share, count in zip(config.data.prepared, shares, counts, strict=True):
        if share > 0 and count == 0:
            raise ConfigError(f"the prepared set {name} holds no window to train on")
    return shares / shares.sum()


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
