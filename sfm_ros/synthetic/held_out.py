"""The demo's recording: a street that no training set holds, rendered in several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

HELD_OUT_SEED = 9004
"""Training takes its streets from seeds below 9000."""

_street: SyntheticStreet | None = None


class HeldOutStreet:
    """A ``Source``: a city street of about 217 m with bends to both sides, exact depth and poses.

    Args:
        frames: number of images, at 10 Hz.
        width, height: image size in pixels.
        seed: of the street.
    """

    fps = 10.0
    camera_height_m = 1.6

    def __init__(
        self, frames: int = 200, width: int = 640, height: int = 200, seed: int = HELD_OUT_SEED
    ) -> None:
        self.name = f"held-out synthetic street (seed {seed})"
        self._config = SyntheticConfig(
            seed=seed,
            width=width,
            height=height,
            frames=frames,
            fps=self.fps,
            fx=0.58 * width,
            camera_height_m=self.camera_height_m,
            kind="city",
        )

    def __len__(self) -> int:
        return self._config.frames

    def __iter__(self) -> Iterator[SourceItem]:
        workers = min(4, max(len(os.sched_getaffinity(0)), 1))
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_build, initargs=(self._config,)
        )
        try:
            yield from pool.map(_render, range(len(self)))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _build(config: SyntheticConfig) -> None:
    global _street
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    _street = SyntheticStreet(config)


def _render(index: int) -> SourceItem:
    assert _street is not None
    return _street.render(index)
