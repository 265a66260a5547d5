"""Which engine and precision is the fastest on this processor: measured once, then remembered."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.choice_memory import ChoiceMemory, machine_key
from sfm_ros.engines.parity import LIMITS, check_parity
from sfm_ros.engines.registry import FP32, Candidate
from sfm_ros.engines.window_runner import gray_windows
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import ModelSpec

Report = Callable[[str, bool], object]
"""Takes a line for a person, and whether it is a problem."""


def silent(text: str, is_problem: bool) -> None:
    """Reports nothing."""


_BUDGET_S = 1.5
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 60
_WARM_UP = 2
_MOST_WAITING = 0.25
"""A measurement that waits for a processor for a larger share of its time is disturbed."""
_SCHEDULER = Path("/proc/thread-self/schedstat")
_CLEARLY_FASTER = 0.9
"""FP32 gives way to a smaller type that takes less than this share of its time."""


class CpuChoice:
    """Chooses among the engines that run on the processor.

    Args:
        bundle, spec: the model.
        config: ``threads`` is used.
        among: the candidates, those to be preferred first; at least one.
        report: gets one line on what was measured and chosen, and one for each refusal.
        clock: steady time in seconds.
        waited: seconds that this thread has waited for a processor so far; by default `waited_s`.
    """

    def __init__(
        self,
        bundle: Path,
        spec: ModelSpec,
        config: ModelConfig,
        among: list[Candidate],
        report: Report = silent,
        clock: Callable[[], float] = time.perf_counter,
        waited: Callable[[], float] | None = None,
    ) -> None:
        self._bundle, self._config, self._among = bundle, config, among
        self._report, self._clock, self._waited = report, clock, waited or waited_s
        self._memory = ChoiceMemory(machine_key(spec, config.threads), among)

    def remembered(self) -> Engine | None:
        """The only candidate, or the one that was the fastest last time, if that is remembered.

        Raises:
            EngineError: the only candidate does not work.
            ModelError: as for `first`.
        """
        if len(self._among) == 1:
            engine = self.first()
            self._report(f"engine {self._among[0]}", False)
            return engine
        found = self._memory.recall()
        if found is None:
            return None
        chosen, times_ms = found
        try:
            engine = chosen.load(self._bundle, self._config)
        except EngineError:
            self.forget()
            return None
        line = f"engine {chosen}, the fastest here as measured before ({_shown(times_ms)})"
        self._report(line, False)
        return engine

    def forget(self) -> None:
        """Measure again next time."""
        self._memory.forget()

    def first(self) -> Engine:
        """The first candidate that loads.

        Raises:
            EngineError: none does; names the reasons.
            ModelError: the bundle is damaged or follows another contract.
        """
        return first_that_loads(self._among, self._bundle, self._config)

    def measured(self, stop: threading.Event | None = None) -> Engine:
        """Load all candidates, measure them, and return the fastest that passes the parity gate.

        Args:
            stop: ends the measurement early, with what is known by then.

        Raises:
            EngineError: no candidate works; names the reasons.
            ModelError: as for `first`.
        """
        reasons: list[str] = []
        with ExitStack() as loaded:
            engines: dict[Candidate, Engine] = {}
            for candidate in self._among:
                try:
                    engine = candidate.load(self._bundle, self._config)
                except EngineError as error:
                    reasons.append(str(error))
                else:
                    engines[candidate] = loaded.enter_context(closing(engine))
            begin, waited = self._clock(), self._waited()
            stop = stop or threading.Event()
            times_ms = measure(engines, self._clock, stop, reasons)
            share = (self._waited() - waited) / max(self._clock() - begin, 1e-9)
            chosen = self._accepted(engines, times_ms, reasons)
            self._keep(chosen, times_ms, share > _MOST_WAITING or stop.is_set())
            winner = engines[chosen]
            for engine in engines.values():
                if engine is not winner:
                    engine.close()
            loaded.pop_all()
        return winner

    def _keep(
        self, chosen: Candidate, times_ms: Mapping[Candidate, float], is_disturbed: bool
    ) -> None:
        """Report the choice, and remember it unless the machine was busy with something else."""
        names = {str(candidate): ms for candidate, ms in times_ms.items()}
        note = "; other programs took the processor: it is measured again at the next start"
        if not is_disturbed:
            self._memory.remember(chosen, names)
        self._report(
            f"engine {chosen}, the fastest here ({_shown(names)}){note if is_disturbed else ''}",
            False,
        )

    def _accepted(
        self,
        engines: Mapping[Candidate, Engine],
        times_ms: Mapping[Candidate, float],
        reasons: list[str],
    ) -> Candidate:
        """The fastest that agrees with the last in FP32: ONNX Runtime, if it is installed."""
        exact = [c for c in times_ms if c.precision == FP32]
        for candidate in by_speed(times_ms):
            trusted = exact[-1] if exact else candidate
            if candidate == trusted:
                return candidate
            limits = LIMITS[candidate.precision]
            parity = check_parity(engines[candidate], engines[trusted], limits)
            if parity.accepted:
                return candidate
            reasons.append(parity.text)
            self._report(f"engine {candidate} is not used: {parity.text}", True)
        raise EngineError(f"no inference engine can be used: {'; '.join(reasons)}")


def first_that_loads(among: list[Candidate], bundle: Path, config: ModelConfig) -> Engine:
    """The first candidate that loads; errors as for `CpuChoice.first`."""
    reasons = []
    for candidate in among:
        try:
            return candidate.load(bundle, config)
        except EngineError as error:
            if len(among) == 1:
                raise
            reasons.append(str(error))
    raise EngineError(f"no inference engine can be used: {'; '.join(reasons)}")


def measure(
    engines: Mapping[Candidate, Engine],
    clock: Callable[[], float],
    stop: threading.Event,
    reasons: list[str],
) -> dict[Candidate, float]:
    """Milliseconds for a frame, the median of many, of engines that take turns.

    Turns, because a machine that is busy for a moment is busy for all of them.

    Args:
        reasons: gets an entry for each engine that fails.
    """
    times_ms: dict[Candidate, list[float]] = {c: [] for c in engines}
    windows = {c: gray_windows(engine.spec) for c, engine in engines.items()}
    start, rounds = clock(), 0
    running = dict(engines)
    while running and rounds < _MOST_ROUNDS and not (stop.is_set() and rounds):
        if rounds >= _LEAST_ROUNDS and clock() - start > _BUDGET_S:
            break
        for candidate, engine in list(running.items()):
            try:
                for _ in range(_WARM_UP):
                    begin = clock()
                    engine.infer(next(windows[candidate]))
                    elapsed_ms = 1000 * (clock() - begin)
            except EngineError as error:
                reasons.append(str(error))
                del running[candidate]
            else:
                times_ms[candidate].append(elapsed_ms)
        rounds += 1
    return {candidate: statistics.median(times_ms[candidate]) for candidate in running}


def waited_s() -> float:
    """Seconds that the calling thread has been ready to run while others ran; 0 if unknown."""
    try:
        return 1e-9 * int(_SCHEDULER.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):  # not Linux, or a kernel without these statistics
        return 0.0


def by_speed(times_ms: Mapping[Candidate, float]) -> list[Candidate]:
    """The fastest first; a smaller type than FP32 has to be clearly faster."""

    def cost(candidate: Candidate) -> float:
        return times_ms[candidate] * (_CLEARLY_FASTER if candidate.precision == FP32 else 1.0)

    return sorted(times_ms, key=cost)


def _shown(times_ms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in times_ms.items())
