"""Progress of a build on the terminal, or in lines for another program."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

_PERIOD_S = 1.0
_LEAST_SHARE = 0.05
"""Of a build, from which on the time it took so far predicts the rest."""
_NEARLY = 0.99


def seconds_left(elapsed_s: float, share: float, expected_s: float | None) -> float | None:
    """An estimate of the rest of a build, or None.

    Args:
        elapsed_s: since its start.
        share: of it that is done, 0 where the library reports none.
        expected_s: how long it took the last time.
    """
    if share >= _LEAST_SHARE:
        return elapsed_s * (1 - share) / share
    if expected_s is not None:
        return max(expected_s - elapsed_s, 0.0)
    return None


class BuildReport:
    """Reports the builds of a bundle's graphs, at the start, every second and at the end.

    Args:
        graphs: number of graphs.
        is_for_programs: whether lines ``progress SHARE SECONDS TEXT`` go to the standard output
            (SECONDS is ``-`` if unknown), instead of one changing line to a terminal.
        clock: steady time in seconds.
    """

    def __init__(
        self,
        graphs: int,
        is_for_programs: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graphs, self._is_for_programs, self._clock = graphs, is_for_programs, clock
        self._begun = 0
        self._share, self._started_s = 0.0, 0.0
        self._expected_s: float | None = None
        self._graph = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, graph: str, expected_s: float | None) -> None:
        """See `Report` in ``engines/tensorrt/bundle.py``."""
        self._graph, self._expected_s, self._share = graph, expected_s, 0.0
        self._begun += 1
        self._started_s = self._clock()
        self._ended.clear()
        self.show()
        self._thread = threading.Thread(target=self._repeat, name="sfm_progress", daemon=True)
        self._thread.start()

    def advance(self, share: float) -> bool:
        """Likewise; never ends the build."""
        self._share = share
        return True

    def end(self) -> None:
        """Likewise."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if not self._is_for_programs and sys.stderr.isatty():
            print(file=sys.stderr)

    def note(self, text: str) -> None:
        """Likewise."""
        print(text, file=sys.stderr, flush=True)

    def show(self) -> None:
        """Print how far it is."""
        elapsed_s = self._clock() - self._started_s
        left_s = seconds_left(elapsed_s, self._share, self._expected_s)
        share = self._share
        if share == 0.0 and self._expected_s:
            share = min(elapsed_s / self._expected_s, _NEARLY)
        total = (self._begun - 1 + share) / self._graphs
        text = f"building {self._graph}, {elapsed_s:.0f} s so far"
        if self._is_for_programs:
            left = "-" if left_s is None else f"{left_s:.0f}"
            print(f"progress {min(total, 1.0):.3f} {left} {text}", flush=True)
        elif sys.stderr.isatty():
            left = "" if left_s is None else f", about {left_s:.0f} s left"
            print(f"\r{100 * share:3.0f} % {text}{left}   ", end="", file=sys.stderr, flush=True)

    def _repeat(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self.show()
