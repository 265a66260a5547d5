"""Which windows of the prepared sets make up a step: a pure function of seed and step.

Nothing is stored between two calls, so there is no sampler state to save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import ConfigError
from training.config import DataConfig
from training.data.sequence import PreparedSet

CYCLE = 1000
"""Length of the pattern by which sets alternate; their ratios are exact to 1 / CYCLE."""


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """Consecutive frames of one sequence.

    Attributes:
        set_index: index of the prepared set.
        sequence: index of the sequence in that set.
        first: index of the first frame in that set.
    """

    set_index: int
    sequence: int
    first: int


class WindowSampler:
    """Lists the windows of prepared sets and deals them out to the slots of the batches.

    The last ``validation_ratio`` of each sequence is held out. A set with ratio zero is held out
    as a whole.

    Args:
        sets: in the order of ``data.prepared``.
        data: ratios of the sets and of the held-out part.
        length: frames of a window.
        seed: of the order in which windows are drawn.

    Attributes:
        training_count, validation_count: windows to train on and held-out windows, of all sets.

    Raises:
        ConfigError: there is no window to train on, or a set with a positive ratio has none.
    """

    def __init__(
        self, sets: Sequence[PreparedSet], data: DataConfig, length: int, seed: int
    ) -> None:
        self.length, self._seed = length, seed
        self._train: list[list[TrainingWindow]] = []
        self._held_out: list[list[TrainingWindow]] = []
        weights: Sequence[float] = data.set_ratios
        for index, prepared in enumerate(sets):
            unused = bool(weights) and weights[index] == 0
            ratio = 1.0 if unused else data.validation_ratio
            train, held_out = _split_windows(prepared, index, length, ratio)
            self._train.append(train)
            self._held_out.append(held_out)
        counts = [len(windows) for windows in self._train]
        self.training_count = sum(counts)
        self.validation_count = sum(len(windows) for windows in self._held_out)
        ratios = _set_ratios(sets, weights or counts, counts, length)
        self._slots, self._slots_of_set = _cycle(ratios)
        self._permutation = lru_cache(maxsize=4 * len(sets))(self._make_permutation)

    def training(self, slots: range) -> list[TrainingWindow]:
        """The windows of these slots of the endless sequence of training windows.

        Within a set every window is drawn once before any is drawn again.
        """
        return [self._window_of(slot) for slot in slots]

    def validation(self, limit: int) -> list[TrainingWindow]:
        """At most ``limit`` held-out windows, equally many of each set, evenly spread over it."""
        filled = [windows for windows in self._held_out if windows]
        chosen: list[TrainingWindow] = []
        for windows in filled:
            count = min(len(windows), max(1, limit // len(filled)))
            indices = np.linspace(0, len(windows) - 1, count).round().astype(int)
            chosen.extend(windows[i] for i in indices)
        return chosen

    def _window_of(self, slot: int) -> TrainingWindow:
        cycles, slot = divmod(slot, CYCLE)
        set_index, drawn = self._slots[slot]
        drawn += cycles * self._slots_of_set[set_index]
        windows = self._train[set_index]
        epoch, rank = divmod(drawn, len(windows))
        return windows[int(self._permutation(set_index, epoch)[rank])]

    def _make_permutation(self, set_index: int, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, 2, set_index, epoch])
        return rng.permutation(len(self._train[set_index]))


def _split_windows(
    prepared: PreparedSet, set_index: int, length: int, held_out_ratio: float
) -> tuple[list[TrainingWindow], list[TrainingWindow]]:
    """Windows to train on and held-out windows; no frame belongs to both."""
    train: list[TrainingWindow] = []
    held_out: list[TrainingWindow] = []
    for number, record in enumerate(prepared.sequences):
        count = round(record.count * held_out_ratio)
        end = record.start + record.count
        split = end - count if count >= length else end
        for windows, first, last in ((train, record.start, split), (held_out, split, end)):
            firsts = range(first, last - length + 1)
            windows.extend(TrainingWindow(set_index, number, i) for i in firsts)
    return train, held_out


def _cycle(ratios: npt.NDArray[np.float64]) -> tuple[list[tuple[int, int]], list[int]]:
    """Gives each slot of a cycle to the set that lags most behind its ratio.

    Returns:
        For each slot its set and how many earlier slots that set has; and the slots of each set.
    """
    drawn = np.zeros(len(ratios), dtype=np.int64)
    slots = []
    for slot in range(CYCLE):
        lag = np.where(ratios > 0, ratios * (slot + 1) - drawn, -np.inf)
        chosen = int(np.argmax(lag))
        slots.append((chosen, int(drawn[chosen])))
        drawn[chosen] += 1
    return slots, drawn.tolist()


def _set_ratios(
    sets: Sequence[PreparedSet], weights: Sequence[float], counts: Sequence[int], length: int
) -> npt.NDArray[np.float64]:
    """The weights of the sets, normalized to a sum of 1; refuses sets without windows."""
    paths = [str(prepared.path) for prepared in sets]
    if not sum(counts):
        raise ConfigError(
            f"the prepared sets {paths} hold no window of {length} frames to train on; prepare "
            "longer sequences"
        )
    for path, weight, count in zip(paths, weights, counts, strict=True):
        if weight > 0 and count == 0:
            raise ConfigError(f"the prepared set {path} holds no window to train on")
    ratios = np.array(weights, dtype=np.float64)
    return ratios / ratios.sum()
