"""Which windows of the prepared sets make up a step: a pure function of seed and step.

Nothing is remembered between two calls, so there is no sampler state to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import ConfigError
from training.config import TrainConfig
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


class WindowSampler:
    """Lists the windows of prepared sets and deals them out.

    The last ``validation_ratio`` of each sequence is kept out of the training part; a set whose
    share of the batches is zero is held out as a whole.
    """

    def __init__(self, sets: Sequence[PreparedSet], config: TrainConfig) -> None:
        self._config = config
        self._train = [_windows(sets, i, config, training=True) for i in range(len(sets))]
        self._held_out = [_windows(sets, i, config, training=False) for i in range(len(sets))]
        self._turns = _turns(_shares(config, [len(windows) for windows in self._train]))
        self._permutation = lru_cache(maxsize=4 * len(sets))(self._make_permutation)

    @property
    def training_count(self) -> int:
        """Windows to train on, of all sets."""
        return sum(map(len, self._train))

    @property
    def validation_count(self) -> int:
        """Windows held out, of all sets."""
        return sum(map(len, self._held_out))

    def training(self, slots: range) -> list[Window]:
        """The windows of these places in the endless row of windows to train on.

        Within a set none repeats before all have had their turn.
        """
        windows = []
        for slot in slots:
            cycle, place = divmod(slot, CYCLE)
            set_index = int(self._turns.set_of_place[place])
            position = cycle * int(self._turns.per_cycle[set_index]) + int(
                self._turns.earlier_in_cycle[place]
            )
            candidates = self._train[set_index]
            epoch, rank = divmod(position, len(candidates))
            windows.append(candidates[int(self._permutation(set_index, epoch)[rank])])
        return windows

    def validation(self, limit: int) -> list[Window]:
        """At most ``limit`` held-out windows, equally many of each set, evenly spread over it."""
        filled = [windows for windows in self._held_out if windows]
        chosen: list[Window] = []
        for windows in filled:
            wanted = min(len(windows), max(1, limit // len(filled)))
            places = np.linspace(0, len(windows) - 1, wanted).round().astype(int)
            chosen.extend(windows[i] for i in places)
        return chosen

    def _make_permutation(self, set_index: int, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self._config.run.seed, 2, set_index, epoch])
        return rng.permutation(len(self._train[set_index]))


def _windows(
    sets: Sequence[PreparedSet], set_index: int, config: TrainConfig, training: bool
) -> list[Window]:
    length, shares = config.network.sequence_length, config.data.set_ratios
    held_out_ratio = config.data.validation_ratio
    if shares and shares[set_index] == 0:
        held_out_ratio = 1.0
    windows = []
    for number, record in enumerate(sets[set_index].sequences):
        held_out = round(record.count * held_out_ratio)
        if held_out < length:
            held_out = 0
        split = record.count - held_out
        begin, end = (0, split) if training else (split, record.count)
        for first in range(begin, end - length + 1):
            windows.append(Window(set_index, number, record.start + first))
    return windows


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
    shares = np.array(config.data.set_ratios or counts, dtype=np.float64)
    for name, share, count in zip(config.data.prepared, shares, counts, strict=True):
        if share > 0 and count == 0:
            raise ConfigError(f"the prepared set {name} holds no window to train on")
    return shares / shares.sum()
