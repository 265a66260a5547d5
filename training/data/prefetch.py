"""The batches of a training run, gathered ahead of time if the device would wait for them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing

import torch
from torch import Tensor

from training.batch import Batch
from training.data.ahead import map_ahead
from training.data.batcher import Batcher, RawBatch

AHEAD = 4
"""Batches that are gathered before they are needed, and threads that gather them."""


class BatchStream(AbstractContextManager["BatchStream"]):
    """The batches of the steps ``first`` to ``last - 1``, in order, on the device.

    If the frames are on the device themselves, and on a CPU, a batch is built when it is
    requested: on a GPU that takes no time, on a CPU a thread would take cores from the training.
    Otherwise threads gather the windows of the next steps and the device augments them. Because
    a batch depends on its step alone, both modes give the same batches.

    Attributes:
        waited_s: seconds the training has waited for its batches so far.
    """

    def __init__(self, batcher: Batcher, first: int, last: int, device: torch.device) -> None:
        self.waited_s = 0.0
        self._batcher, self._device = batcher, device
        steps = range(first, last)
        threads_help = device.type != "cpu" and batcher.store.device.type == "cpu"
        self._batches = (
            self._gathered_ahead(steps)
            if threads_help
            else (batcher.training_batch(step) for step in steps)
        )

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            start = time.perf_counter()
            batch = next(self._batches, None)
            self.waited_s += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _gathered_ahead(self, steps: range) -> Generator[Batch, None, None]:
        with closing(map_ahead(self._gather, steps, AHEAD, AHEAD)) as raws:
            for step, raw in zip(steps, raws, strict=True):
                yield self._batcher.finish(raw.to(self._device), step)

    def _gather(self, step: int) -> RawBatch:
        raw = self._batcher.raw(self._batcher.training_windows(step))
        return raw.map(Tensor.pin_memory) if self._device.type == "cuda" else raw
