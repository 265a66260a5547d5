"""Answers with the engine that is ready, while a better one is prepared beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from sfm_ros.datatypes import Prediction
from sfm_ros.engines.base import Engine
from sfm_ros.engines.choice import Report
from sfm_ros.errors import SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

Progress = Callable[[str], object]
"""Takes what is going on, in a few words."""
Prepare = Callable[[Progress, threading.Event], Engine]
"""Makes a better engine that has passed the parity gate; SfmRosError with the reason if there is
none. It runs in a thread of its own, and ends soon after the event is set."""
Fallback = Callable[[Engine, SfmRosError], Engine]
"""The engine to use instead of one that failed; SfmRosError if there is no other."""


class Reports:
    """Lines for a person, kept until somebody listens.

    Attributes:
        problem: the last one that is a problem, or empty.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._kept: list[tuple[str, bool]] = []
        self._listener: Report | None = None

    def __call__(self, text: str, is_problem: bool = False) -> None:
        """Add a line."""
        if is_problem:
            self.problem = text
        if self._listener is None:
            self._kept.append((text, is_problem))
        else:
            self._listener(text, is_problem)

    def listen(self, listener: Report) -> None:
        """Hand over what was kept, and from now on every line at once."""
        self._listener = listener
        kept, self._kept = self._kept, []
        for line in kept:
            listener(*line)


class SwitchingEngine:
    """An engine that becomes faster while it runs, and outlives the failure of a library.

    A better engine takes over between two frames. An engine that fails is replaced before the
    frame is answered, so that no frame is lost.

    Args:
        first: answers at once.
        improvements: prepared one after the other once the engine is `start`-ed.
        fallback: what to use if an engine fails.
        reports: what is to be logged.
    """

    def __init__(
        self,
        first: Engine,
        improvements: Sequence[Prepare],
        fallback: Fallback,
        reports: Reports | None = None,
    ) -> None:
        self.spec: ModelSpec = first.spec
        self._current = first
        self._improvements, self._fallback = improvements, fallback
        self._reports = reports or Reports()
        self._lock = threading.Lock()
        self._ready: Engine | None = None
        self._window: Window | None = None
        self._progress = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Of the engine that answers now."""
        return self._current.name

    @property
    def precision(self) -> str:
        """Of the engine that answers now."""
        return self._current.precision

    def start(self, listener: Report) -> None:
        """Begin to prepare a better engine.

        Args:
            listener: gets the reports, from other threads too.
        """
        self._reports.listen(listener)
        if self._improvements and self._thread is None:
            self._thread = threading.Thread(target=self._improve, name="sfm_engines", daemon=True)
            self._thread.start()

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`; EngineError if no engine is left."""
        self._swap()
        self._window = window
        while True:
            try:
                return self._current.infer(window)
            except SfmRosError as error:
                self._replace(error)

    def facts(self) -> dict[str, str]:
        """What is prepared now, and what is not used and why; for the status."""
        return {
            "engine_progress": self._progress,
            "engine_refused": self._reports.problem,
        }

    def close(self) -> None:
        """End the preparation and release all engines."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._ready is not None:
            self._ready.close()
        self._current.close()

    def _swap(self) -> None:
        """Let a better engine take over, if one is ready."""
        with self._lock:
            better, self._ready = self._ready, None
        if better is None:
            return
        previous, self._current = self._current, better
        self._reports(f"engine {_shown(better)} takes over from {_shown(previous)}")
        previous.close()

    def _replace(self, error: SfmRosError) -> None:
        """Let another engine answer instead of one that failed."""
        failed = self._current
        other = self._fallback(failed, error)
        self._current = other
        text = f"engine {_shown(failed)} failed, {_shown(other)} takes over: {error}"
        self._reports(text, True)
        with suppress(SfmRosError):
            failed.close()

    def _improve(self) -> None:
        for prepare in self._improvements:
            if self._stop.is_set():
                break
            try:
                engine = prepare(self._show, self._stop)
            except SfmRosError as error:
                if not self._stop.is_set():
                    self._reports(str(error), True)
            else:
                self._offer(engine)
        self._show("")

    def _show(self, progress: str) -> None:
        self._progress = progress

    def _offer(self, engine: Engine) -> None:
        """Hand an engine over to the thread that infers, unless it is of the kind in use."""
        if _shown(engine) == _shown(self._current):
            engine.close()
            return
        window = self._window
        if window is not None:  # what it keeps of the last frames is there when it takes over
            with suppress(SfmRosError):
                engine.infer(window)
        with self._lock:
            unused, self._ready = self._ready, engine
        if unused is not None:
            unused.close()


def _shown(engine: Engine) -> str:
    return f"{engine.name} {engine.precision}"
