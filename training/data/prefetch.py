"""Batches built ahead of time where the device would otherwise wait for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from training.batch import Batch
from training.data.batcher import Batcher

AHEAD = 4


class BatchStream:
    """The batches of the steps ``first`` to ``last - 1``, in order, on the device.

    On a CPU the next batch is built when it is asked for: a thread would take cores from the
    training itself. Because a batch depends on its step alone, both ways give the same batches.

    Attributes:
        waited_s: seconds the training stood still for its batches so far.
    """

    def __init__(self, batcher: Batcher, first: int, last: int, device: torch.device) -> None:
        self._batcher, self._steps, self._device = batcher, range(first, last), device
        self.waited_s = 0.0
        self._pool = None if device.type == "cpu" else ThreadPoolExecutor(AHEAD)

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
        waiting: deque[Future[Batch]] = deque()
        for step in self._steps:
            waiting.append(self._pool.submit(self._batcher.training_batch, step))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result().to(self._device)
        while waiting:
            yield waiting.popleft().result().to(self._device)
