"""Counts and latencies of a run, and the diagnostics made of them. Safe between threads."""

from __future__ import annotations

import threading
from collections import Counter, deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sfm_ros.datatypes import OdometryEstimate, Reason, ScaleState, TrackingStatus

_LEVELS = {
    TrackingStatus.TRACKING: DiagnosticStatus.OK,
    TrackingStatus.LOST: DiagnosticStatus.ERROR,
}
_ENGINE = "inference"
"""Name of the engine's stage in ``OdometryEstimate.timings_ns``."""
_COUNTS = ("received", "processed", "odometry", "rejected", "duplicates", "lost_in_transport")


class RunReport:
    """What happened so far.

    Args:
        window: how many of the latest frames the latencies are taken over.
    """

    def __init__(self, window: int = 1000) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._timings_ns: deque[dict[str, int]] = deque(maxlen=window)
        self._status = TrackingStatus.INITIALIZING
        self._reasons: tuple[Reason, ...] = ()
        self._scale = ScaleState()
        self._trouble = ""

    def count(self, what: str, number: int = 1) -> None:
        """Something happened."""
        with self._lock:
            self._counts[what] += number

    def lost_in_transport(self, total: int) -> None:
        """How many images the middleware says it lost so far."""
        with self._lock:
            self._counts["lost_in_transport"] = total

    def rejected(self, trouble: str) -> None:
        """A picture could not be used."""
        with self._lock:
            self._counts["rejected"] += 1
            self._trouble = trouble

    def waiting_for_calibration(self, trouble: str) -> None:
        """Pictures arrive but no calibration to use them with."""
        with self._lock:
            self._status = TrackingStatus.WAITING_FOR_CALIBRATION
            self._reasons = (Reason.NO_CALIBRATION,)
            self._trouble = trouble

    def processed(self, estimate: OdometryEstimate, timings_ns: dict[str, int]) -> None:
        """A picture went all the way.

        Args:
            estimate: what came of it.
            timings_ns: all stages from its arrival to the last publish, by name.
        """
        with self._lock:
            self._counts["processed"] += 1
            self._counts["duplicates"] += Reason.DUPLICATE_STAMP in estimate.reasons
            self._counts["odometry"] += estimate.T_prev_curr is not None
            self._status, self._reasons = estimate.status, estimate.reasons
            if _ENGINE in timings_ns:  # frames without inference would flatter the figures
                self._timings_ns.append(timings_ns)
                self._scale = estimate.scale

    def diagnostic(self, name: str, extra: dict[str, str]) -> DiagnosticStatus:
        """The state now.

        Args:
            name: what the status is about.
            extra: values the caller adds.
        """
        with self._lock:
            values = {
                "status": self._status.value,
                "reasons": ", ".join(reason.value for reason in self._reasons),
                **{what: str(self._counts[what]) for what in _COUNTS},
                "scale_source": self._scale.source.value,
                "scale": f"{self._scale.value:g}",
                **_latency_values(self._timings_ns),
                "last_trouble": self._trouble,
                **extra,
            }
            status, received = self._status, self._counts["received"]
        message = status.value if received else f"no image received yet on {extra['image_topic']}"
        if values["reasons"]:
            message += f": {values['reasons']}"
        return DiagnosticStatus(
            level=_LEVELS.get(status, DiagnosticStatus.WARN),
            name=name,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )


def _latency_values(timings_ns: deque[dict[str, int]]) -> dict[str, str]:
    """p50 and p99 in milliseconds of the whole way, of all but the engine, and of each stage."""
    if not timings_ns:
        return {}
    names = list(timings_ns[-1])
    rows = [[timings.get(name, 0) for name in names] for timings in timings_ns]
    stages = dict(zip(names, np.array(rows, dtype=np.float64).T * 1e-6, strict=True))
    total = np.sum(list(stages.values()), axis=0)
    engine = stages.pop(_ENGINE)
    shown = {"total": total, "engine": engine, "outside_engine": total - engine, **stages}
    return {
        f"latency_{stage}_p{percent}_ms": f"{np.percentile(values, percent):.3f}"
        for stage, values in shown.items()
        for percent in (50, 99)
    }
