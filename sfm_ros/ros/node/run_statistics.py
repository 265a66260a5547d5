"""Counts and latencies of a run, and the diagnostics made of them. Safe between threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sfm_ros.datatypes import OdometryEstimate, Reason, ScaleState, TrackingStatus

_LEVELS = {
    TrackingStatus.IDLE: DiagnosticStatus.OK,
    TrackingStatus.TRACKING: DiagnosticStatus.OK,
    TrackingStatus.LOST: DiagnosticStatus.ERROR,
}
_SILENT_BY_RIGHT = (TrackingStatus.IDLE, TrackingStatus.WAITING_FOR_CALIBRATION)
"""States that go on when images cease: they say enough of what to do first."""
_ENGINE = "inference"
"""Name of the engine's stage in ``OdometryEstimate.timings_ns``."""
_COUNTS = (
    "received",
    "processed",
    "odometry",
    "rejected",
    "skipped",
    "duplicates",
    "lost_in_transport",
)
_LATENCIES_HOLD_S = 0.9


class RunReport:
    """What happened so far.

    Args:
        window: how many of the latest frames the latencies are taken over.
        silence_s: without an image for so long there are none.
        clock: steady time.
    """

    def __init__(
        self,
        window: int = 1000,
        silence_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._silence_s = silence_s
        self._last_image_s: float | None = None
        self._counts: Counter[str] = Counter()
        self._reason_counts: Counter[Reason] = Counter()
        self._timings_ns: deque[dict[str, int]] = deque(maxlen=window)
        self._stamp_latencies_ns: deque[int] = deque(maxlen=window)
        self._status = TrackingStatus.INITIALIZING
        self._reasons: tuple[Reason, ...] = ()
        self._is_held = False
        self._scale = ScaleState()
        self._trouble = ""
        self._latencies: dict[str, str] = {}
        self._latencies_due_s = 0.0

    def begin(self) -> bool:
        """Images are worked on from now; True where that is news."""
        with self._lock:
            self._is_held = False
            if self._last_image_s is not None:
                self._last_image_s = self._clock()  # a silence until now is nobody's fault
            return self._now(TrackingStatus.INITIALIZING, ())

    def rest(self, reason: Reason) -> bool:
        """Nothing is worked on until :meth:`begin`; True where that is news."""
        with self._lock:
            return self._hold(TrackingStatus.IDLE, reason)

    def failed(self, trouble: str) -> bool:
        """Nothing can be worked on until :meth:`begin`; True where that is news."""
        with self._lock:
            self._trouble = trouble
            return self._hold(TrackingStatus.LOST, Reason.ENGINE_FAILED)

    def _hold(self, status: TrackingStatus, reason: Reason) -> bool:
        """Whatever an image that is still under way comes to does not change this state."""
        self._is_held = True
        return self._become(status, (reason,))

    def image_arrived(self) -> None:
        """An image came, whatever becomes of it."""
        with self._lock:
            self._counts["received"] += 1
            self._last_image_s = self._clock()

    def lost_in_transport(self, total: int) -> None:
        """How many images the middleware says it lost so far."""
        with self._lock:
            self._counts["lost_in_transport"] = total

    def skipped(self) -> None:
        """An image came sooner than the limit of the rate allows."""
        with self._lock:
            self._counts["skipped"] += 1

    def idle(self, reason: Reason) -> bool:
        """An image came that nobody wants to have processed; True where that is news."""
        with self._lock:
            self._counts["skipped"] += 1
            return self._now(TrackingStatus.IDLE, (reason,))

    def rejected(self, reason: Reason, trouble: str) -> bool:
        """An image could not be used; True where the status changed."""
        with self._lock:
            self._counts["rejected"] += 1
            self._trouble = trouble
            return self._now(TrackingStatus.LOST, (reason,))

    def waiting_for_calibration(self, trouble: str) -> bool:
        """Images arrive but no calibration to use them with; True where that is news."""
        with self._lock:
            self._trouble = trouble
            status = TrackingStatus.WAITING_FOR_CALIBRATION
            return self._now(status, (Reason.NO_CALIBRATION,))

    def processed(
        self,
        estimate: OdometryEstimate,
        timings_ns: dict[str, int],
        stamp_latency_ns: int | None = None,
    ) -> bool:
        """An image went all the way.

        Args:
            estimate: what came of it.
            timings_ns: all stages from its arrival to the last publish, by name.
            stamp_latency_ns: from its stamp to the last publish, on the node's clock.

        Returns:
            Whether the status or its reasons changed.
        """
        with self._lock:
            self._counts["processed"] += 1
            self._counts["duplicates"] += Reason.DUPLICATE_STAMP in estimate.reasons
            self._counts["odometry"] += estimate.T_prev_curr is not None
            if _ENGINE in timings_ns:  # frames without inference would flatter the figures
                self._timings_ns.append(timings_ns)
                self._scale = estimate.scale
                if stamp_latency_ns is not None:
                    self._stamp_latencies_ns.append(stamp_latency_ns)
            return self._now(estimate.status, estimate.reasons)

    def _now(self, status: TrackingStatus, reasons: tuple[Reason, ...]) -> bool:
        for reason in reasons:
            self._reason_counts[reason] += 1
        return False if self._is_held else self._become(status, reasons)

    def _become(self, status: TrackingStatus, reasons: tuple[Reason, ...]) -> bool:
        is_news = (status, reasons) != (self._status, self._reasons)
        self._status, self._reasons = status, reasons
        return is_news

    def silent_for_s(self) -> float | None:
        """How long no image has come, where that is too long; None where all is well."""
        with self._lock:
            return self._silent_for_s()

    def _silent_for_s(self) -> float | None:
        if self._last_image_s is None or self._is_held or self._status in _SILENT_BY_RIGHT:
            return None
        age_s = self._clock() - self._last_image_s
        return age_s if age_s > self._silence_s else None

    def diagnostic(self, name: str, extra: dict[str, str]) -> DiagnosticStatus:
        """The state now.

        Args:
            name: what the status is about.
            extra: values the caller adds.
        """
        with self._lock:
            status, reasons, message = self._state(extra["image_topic"])
            values = {
                "status": status.value,
                "reasons": ", ".join(reason.value for reason in reasons),
                **{what: str(self._counts[what]) for what in _COUNTS},
                "scale_source": self._scale.source.value,
                "scale": f"{self._scale.value:g}",
                "last_trouble": self._trouble,
                **{
                    f"count_{reason.value}": str(count)
                    for reason, count in sorted(
                        self._reason_counts.items(), key=lambda entry: entry[0].value
                    )
                },
                **extra,
            }
        values.update(self._latency_values())
        return DiagnosticStatus(
            level=_LEVELS.get(status, DiagnosticStatus.WARN),
            name=name,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _state(self, image_topic: str) -> tuple[TrackingStatus, tuple[Reason, ...], str]:
        status, reasons = self._status, self._reasons
        silent_s = self._silent_for_s()
        if silent_s is not None:
            status, reasons = TrackingStatus.LOST, (Reason.NO_IMAGES,)
            text = f"no image on {image_topic} for {silent_s:.1f} s"
        elif self._last_image_s is None and status is not TrackingStatus.IDLE:
            reasons = (Reason.NO_IMAGES,)
            text = f"no image received yet on {image_topic}"
        else:
            text = status.value
        shown = ", ".join(reason.value for reason in reasons)
        return status, reasons, f"{text}: {shown}" if shown else text

    def _latency_values(self) -> dict[str, str]:
        """Worked out at most once a second: it takes longer than all the rest."""
        with self._lock:
            now = self._clock()
            if self._latencies and now < self._latencies_due_s:
                return self._latencies
            self._latencies_due_s = now + _LATENCIES_HOLD_S
            timings_ns, stamps_ns = list(self._timings_ns), list(self._stamp_latencies_ns)
        self._latencies = {**_stage_values(timings_ns), **_stamp_values(stamps_ns)}
        return self._latencies


def _stage_values(timings_ns: list[dict[str, int]]) -> dict[str, str]:
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


def _stamp_values(latencies_ns: list[int]) -> dict[str, str]:
    """p50 and p99 from an image's stamp to its last publish; of a bag, whose clock is another,
    they tell how old the recording is."""
    if not latencies_ns:
        return {}
    values = np.array(latencies_ns, dtype=np.float64) * 1e-6
    return {
        f"stamp_to_publish_ms_p{percent}": f"{np.percentile(values, percent):.3f}"
        for percent in (50, 99)
    }
