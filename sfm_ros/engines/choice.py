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
from sfm_ros.errors import EngineError, EngineRefusedError, ModelError, SfmRosError
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


class Failures:
    """Why candidates are not used: a line for each reason, and the error if none is left.

    A bundle that one library refuses may be fine for the next, so a ModelError counts as the
    failure of a candidate, too.

    Args:
        report: gets a line on each refusal by the parity gate and on each ModelError, which are
            problems, and one on each other reason of an engine.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._errors: list[SfmRosError] = []
        self._stated: set[tuple[str, str]] = set()

    def add(self, candidate: Candidate, error: SfmRosError) -> str:
        """Report the reason, unless that was done before; returns the line."""
        self._errors.append(error)
        is_problem = isinstance(error, (EngineRefusedError, ModelError))
        line = f"engine {candidate} is {'not used' if is_problem else 'left out'}: {error}"
        key = candidate.engine, str(error)  # what is not installed is so in every precision
        if key not in self._stated:
            self._stated.add(key)
            self._report(line, is_problem)
        return line

    def error(self) -> SfmRosError:
        """The first ModelError, else an EngineError that names all reasons."""
        for error in self._errors:
            if isinstance(error, ModelError):
                return error
        reasons = dict.fromkeys(map(str, self._errors))
        return EngineError(f"no inference engine can be used: {'; '.join(reasons)}")


class CpuChoice:
    """Chooses among the engines that run on the processor.

    Args:
        bundle, spec: the model.
        config: ``threads`` is used.
        among: the candidates, those to be preferred first; at least one.
        report: gets one line on what was measured and chosen, and those of `Failures`.
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
        self._failures = Failures(report)
        self._memory = ChoiceMemory(machine_key(spec, config.threads), among)

    def remembered(self) -> Engine | None:
        """The only candidate, or the one that was the fastest last time, if that is remembered.

        What the parity gate refused then is reported again.

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
        except (EngineError, ModelError):
            self.forget()
            return None
        for refusal in self._memory.refusals:
            self._report(refusal, True)
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
        return first_that_loads(self._among, self._bundle, self._config, self._failures)

    def measured(self, stop: threading.Event | None = None) -> Engine:
        """Load all candidates, measure them, and return the fastest that passes the parity gate.

        Args:
            stop: ends the measurement early, with what is known by then.

        Raises:
            EngineError: no candidate works; names the reasons.
            ModelError: as for `first`.
        """
        with ExitStack() as loaded:
            engines: dict[Candidate, Engine] = {}
            for candidate in self._among:
                try:
                    engine = candidate.load(self._bundle, self._config)
                except (EngineError, ModelError) as error:
                    self._failures.add(candidate, error)
                else:
                    engines[candidate] = loaded.enter_context(closing(engine))
            begin, waited = self._clock(), self._waited()
            stop = stop or threading.Event()
            times_ms = measure(engines, self._clock, stop, self._failures)
            share = (self._waited() - waited) / max(self._clock() - begin, 1e-9)
            chosen, refusals = self._accepted(engines, times_ms)
            self._keep(chosen, times_ms, refusals, share > _MOST_WAITING or stop.is_set())
            winner = engines[chosen]
            for engine in engines.values():
                if engine is not winner:
                    engine.close()
            loaded.pop_all()
        return winner

    def _keep(
        self,
        chosen: Candidate,
        times_ms: Mapping[Candidate, float],
        refusals: list[str],
        is_disturbed: bool,
    ) -> None:
        """Report the choice, and remember it unless the machine was busy with something else."""
        names = {str(candidate): ms for candidate, ms in times_ms.items()}
        note = "; other programs took the processor: it is measured again at the next start"
        if not is_disturbed:
            self._memory.remember(chosen, names, refusals)
        self._report(
            f"engine {chosen}, the fastest here ({_shown(names)}){note if is_disturbed else ''}",
            False,
        )

    def _accepted(
        self, engines: Mapping[Candidate, Engine], times_ms: Mapping[Candidate, float]
    ) -> tuple[Candidate, list[str]]:
        """The fastest that agrees with the last in FP32: ONNX Runtime, if it is installed.

        Also returns a line on each faster one, which was refused.
        """
        refusals: list[str] = []
        exact = [c for c in times_ms if c.precision == FP32]
        for candidate in by_speed(times_ms):
            trusted = exact[-1] if exact else candidate
            if candidate == trusted:
                return candidate, refusals
            limits = LIMITS[candidate.precision]
            parity = check_parity(engines[candidate], engines[trusted], limits)
            if parity.accepted:
                return candidate, refusals
            refusals.append(self._failures.add(candidate, EngineRefusedError(parity.text)))
        raise self._failures.error()


def first_that_loads(
    among: list[Candidate], bundle: Path, config: ModelConfig, failures: Failures
) -> Engine:
    """The first candidate that loads; errors as for `CpuChoice.first`.

    Args:
        failures: gets those of several candidates.
    """
    for candidate in among:
        try:
            return candidate.load(bundle, config)
        except (EngineError, ModelError) as error:
            if len(among) == 1:
                raise
            failures.add(candidate, error)
    raise failures.error()


def measure(
    engines: Mapping[Candidate, Engine],
    clock: Callable[[], float],
    stop: threading.Event,
    failures: Failures,
) -> dict[Candidate, float]:
    """Milliseconds for a frame, the median of many, of engines that take turns.

    Turns, because a machine that is busy for a moment is busy for all of them.

    Args:
        failures: gets an entry for each engine that fails.
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
                failures.add(candidate, error)
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
