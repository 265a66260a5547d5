"""Bursts of measurements, and which of them nothing has disturbed.

Two things disturb: other processes, which /proc/stat shows, and other guests of the same host, for
which only a known amount of work is evidence, when it suddenly takes longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_FOREIGN_SHARE = 0.05
_SLOWER = 1.15
_PAUSE_S = 0.05
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass
class Bursts:
    """The bursts of one candidate.

    Attributes:
        times_ms: of the calls of each burst.
        references_s: what the known work took around each burst, the slower of before and after.
        foreign: processor time of other processes during the burst, in cores.
    """

    times_ms: list[list[float]] = field(default_factory=list)
    references_s: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)

    def kept(self, fastest_s: float) -> list[list[float]]:
        """The undisturbed bursts, given the fastest time of the known work in the whole run."""
        return [
            times
            for times, reference_s, foreign in zip(
                self.times_ms, self.references_s, self.foreign, strict=True
            )
            if reference_s <= _SLOWER * fastest_s and foreign <= _FOREIGN_SHARE
        ]


def measure(
    calls: Mapping[str, Callable[[], object]],
    known_work: Callable[[], object],
    rounds: int,
    burst_s: float,
) -> tuple[dict[str, Bursts], float]:
    """Measure candidates in turns.

    Args:
        calls: one inference of each candidate.
        known_work: takes all threads for some milliseconds.
        rounds: bursts of each candidate.
        burst_s: length of a burst; /proc/stat counts hundredths of a second.

    Returns:
        The bursts by candidate, and the fastest time of the known work in seconds.
    """
    found = {name: Bursts() for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_PAUSE_S)  # threads that spin after their work go to sleep
            _burst(found[name], call, known_work, burst_s)
    return found, min(s for bursts in found.values() for s in bursts.references_s)


def _burst(
    bursts: Bursts, call: Callable[[], object], known_work: Callable[[], object], burst_s: float
) -> None:
    before_s = _seconds_of(known_work)
    busy_s, own_s, start = _busy_s(), time.process_time(), time.perf_counter()
    times_ms = []
    while time.perf_counter() - start < burst_s:
        times_ms.append(1e3 * _seconds_of(call))
    elapsed_s = time.perf_counter() - start
    others_s = (_busy_s() - busy_s) - (time.process_time() - own_s)
    after_s = _seconds_of(known_work)
    bursts.times_ms.append(times_ms)
    bursts.references_s.append(max(before_s, after_s))
    # The counters are whole ticks, so that one tick more or less means nothing.
    bursts.foreign.append(max(others_s - 2 * _TICK_S, 0.0) / elapsed_s)


def _seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _busy_s() -> float:
    """Processor time of all processes since the start of the machine."""
    with open("/proc/stat", encoding="ascii") as stream:
        user, nice, system, _, _, irq, softirq, steal = map(int, stream.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * _TICK_S
