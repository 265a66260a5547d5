"""Batches built ahead of time where the device would otherwise wait for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from training.batch import Batch
from training.data.batcher import Batcher, RawBatch

AHEAD = 4


class BatchStream:
    """The batches of the steps ``first`` to ``last - 1``, in order, on the device.

    Where the frames lie on the device itself, and on a CPU, a batch is built when it is asked for:
    there it is gathered and augmented in no time, here a thread would take cores from the training
    itself. Else threads gather the windows of the next steps and the device augments them. Because
    a batch depends on its step alone, all ways give the same batches.

    Attributes:
        waited_s: seconds the training stood still for its batches so far.
    """

    def __init__(self, batcher: Batcher, first: int, last: int, device: torch.device) -> None:
        batcher.reside_on(device)
        self.waited_s = 0.0
        self._batcher, self._steps, self._device = batcher, range(first, last), device
        threads_help = device.type != "cpu" and batcher.device.type == "cpu"
        self._pool = ThreadPoolExecutor(AHEAD) if threads_help else None

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches()
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[Batch]:
        if self._pool is None:
            yield from map(self._batcher.training_batch, self._steps)
            return
        waiting: deque[tuple[int, Future[RawBatch]]] = deque()
        for step in self._steps:
            waiting.append((step, self._pool.submit(self._gather, step)))
            if len(waiting) > AHEAD:
                yield self._finished(*waiting.popleft())
        while waiting:
            yield self._finished(*waiting.popleft())

    def _gather(self, step: int) -> RawBatch:
        raw = self._batcher.raw(self._batcher.training_windows(step))
        return raw.pinned() if self._device.type == "cuda" else raw

    def _finished(self, step: int, future: Future[RawBatch]) -> Batch:
        return self._batcher.finish(future.result().to(self._device), step)
