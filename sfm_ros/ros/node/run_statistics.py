"""State, counts and latencies of a run, and the diagnostics made of them. Safe between threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sfm_ros.datatypes import FloatArray, OdometryEstimate, Reason, ScaleState, TrackingStatus

_LEVELS = {
    TrackingStatus.IDLE: DiagnosticStatus.OK,
    TrackingStatus.TRACKING: DiagnosticStatus.OK,
    TrackingStatus.LOST: DiagnosticStatus.ERROR,
}
_EXPECTS_NO_IMAGES = (TrackingStatus.IDLE, TrackingStatus.WAITING_FOR_CALIBRATION)
"""States that remain when images cease: they already name what to do first."""
_ENGINE = "inference"
"""Name of the engine's stage in ``OdometryEstimate.timings_ns``."""
COUNTERS = (
    "received",
    "processed",
    "odometry",
    "rejected",
    "skipped",
    "duplicates",
    "lost_in_transport",
)
_LATENCIES_HOLD_S = 0.9


class RunStatistics:
    """What happened so far.

    Args:
        window: number of newest frames over which latencies are taken.
        silence_s: after this long without an image, images have ceased.
        clock: steady time in seconds.

    Attributes:
        on_change: called after every change of the state or its reasons.
        has_waiting: whether images wait to be processed: while they do, none is missing.
    """

    def __init__(
        self,
        window: int = 1000,
        silence_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self.has_waiting: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._clock = clock
        self._silence_s = silence_s
        self._last_image_s: float | None = None
        self._resumed_s: float | None = None
        self._is_over = False
        self._counts: Counter[str] = Counter()
        self._reason_counts: Counter[Reason] = Counter()
        self._latencies = _Latencies(window, clock)
        self._state: tuple[TrackingStatus, tuple[Reason, ...]] = (TrackingStatus.INITIALIZING, ())
        self._is_held = False
        self._scale = ScaleState()
        self._problem = ""

    def count(self, counter: str) -> None:
        """Increase one of `COUNTERS`."""
        with self._lock:
            self._counts[counter] += 1

    def set_lost_in_transport(self, total: int) -> None:
        """Store how many images the middleware has reported as lost so far."""
        with self._lock:
            self._counts["lost_in_transport"] = total

    def image_received(self) -> None:
        """Count an image that arrived, whatever is done with it."""
        with self._lock:
            self._counts["received"] += 1
            self._last_image_s = self._clock()
            self._is_over = False

    def counts(self) -> Counter[str]:
        """The value of each of `COUNTERS`."""
        with self._lock:
            return self._counts.copy()

    def end(self) -> None:
        """State that the recording is over: that images have ceased is no fault."""
        with self._lock:
            self._is_over = True

    def report(self, problem: str) -> None:
        """Store what went wrong, for a person, without a change of the state."""
        with self._lock:
            self._problem = problem

    def transition(
        self, status: TrackingStatus, *reasons: Reason, problem: str = "", counter: str = ""
    ) -> None:
        """Enter the state that an image leads to, unless another one is held.

        Args:
            status, reasons: the state.
            problem: what went wrong, for a person; empty keeps the last one.
            counter: one of `COUNTERS`, to be increased with it.
        """
        with self._lock:
            self._problem = problem or self._problem
            if counter:
                self._counts[counter] += 1
            has_changed = self._enter_by_image(status, reasons)
        self._notify(has_changed)

    def hold(self, status: TrackingStatus, reason: Reason, problem: str = "") -> None:
        """Enter a state and stay in it until :meth:`resume`, whatever images under way lead to."""
        with self._lock:
            self._problem = problem or self._problem
            self._is_held = True
            has_changed = self._enter(status, (reason,))
        self._notify(has_changed)

    def _enter_by_image(self, status: TrackingStatus, reasons: tuple[Reason, ...]) -> bool:
        self._reason_counts.update(reasons)
        return not self._is_held and self._enter(status, reasons)

    def _enter(self, status: TrackingStatus, reasons: tuple[Reason, ...]) -> bool:
        """Whether the state changed."""
        previous, self._state = self._state, (status, reasons)
        return self._state != previous

    def _notify(self, has_changed: bool) -> None:
        if has_changed:
            self.on_change()

    def resume(self) -> None:
        """Leave a state that is held: images are processed from now on."""
        with self._lock:
            self._is_held, self._resumed_s = False, self._clock()
            if self._last_image_s is not None:
                self._last_image_s = self._clock()  # no image was missing until now
            has_changed = self._enter(TrackingStatus.INITIALIZING, ())
        self._notify(has_changed)

    def processed(
        self,
        estimate: OdometryEstimate,
        timings_ns: dict[str, int],
        stamp_latency_ns: int | None = None,
    ) -> None:
        """Count an image that was processed, and enter its state.

        Args:
            estimate: the result.
            timings_ns: duration of each stage from the image's arrival to the last publish.
            stamp_latency_ns: from the image's stamp to the last publish, on the node's clock.
        """
        with self._lock:
            self._counts["processed"] += 1
            self._counts["duplicates"] += Reason.DUPLICATE_STAMP in estimate.reasons
            self._counts["odometry"] += estimate.T_prev_curr is not None
            if _ENGINE in timings_ns:  # frames without inference would lower the latencies
                self._scale = estimate.scale
                self._latencies.add(timings_ns, stamp_latency_ns)
            has_changed = self._enter_by_image(estimate.status, estimate.reasons)
        self._notify(has_changed)

    def waiting_for_s(self) -> float | None:
        """For how long the first image has been waited for; None if it came, or none is needed."""
        with self._lock:
            if self._last_image_s is not None or self._is_held or self._resumed_s is None:
                return None
            return self._clock() - self._resumed_s

    def silent_for_s(self) -> float | None:
        """For how long no image has arrived; None if that is not too long."""
        with self._lock:
            return self._silent_for_s()

    def _silent_for_s(self) -> float | None:
        if self._last_image_s is None or self._is_held or self._state[0] in _EXPECTS_NO_IMAGES:
            return None
        if self.has_waiting():
            return None
        age_s = self._clock() - self._last_image_s
        return age_s if age_s > self._silence_s else None

    def diagnostic(self, name: str, extra: dict[str, str]) -> DiagnosticStatus:
        """The state now.

        Args:
            name: of the status.
            extra: values that the caller adds; its ``image_topic`` is named if images are missing.
        """
        with self._lock:
            status, reasons, message = self._describe(extra["image_topic"])
            values = {
                "status": status.value,
                "reasons": ", ".join(reason.value for reason in reasons),
                **{counter: str(self._counts[counter]) for counter in COUNTERS},
                **_scale_values(self._scale),
                "last_trouble": self._problem,
                **self._reason_values(),
                **extra,
            }
        values.update(self._latencies.values())
        return DiagnosticStatus(
            level=_LEVELS.get(status, DiagnosticStatus.WARN),
            name=name,
            message=message,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _reason_values(self) -> dict[str, str]:
        counts = sorted((reason.value, count) for reason, count in self._reason_counts.items())
        return {f"count_{reason}": str(count) for reason, count in counts}

    def _describe(self, image_topic: str) -> tuple[TrackingStatus, tuple[Reason, ...], str]:
        """Status, reasons and message, with images that are missing taken into account."""
        status, reasons = self._state
        silent_s = self._silent_for_s()
        if silent_s is not None and self._is_over:
            status, reasons, text = TrackingStatus.IDLE, (Reason.NO_IMAGES,), "the bag is over"
        elif silent_s is not None:
            status, reasons = TrackingStatus.LOST, (Reason.NO_IMAGES,)
            text = f"no image on {image_topic} for {silent_s:.1f} s"
        elif self._last_image_s is None and status is not TrackingStatus.IDLE:
            reasons = (Reason.NO_IMAGES,)
            text = f"no image received yet on {image_topic}"
        else:
            text = status.value
        listed = ", ".join(reason.value for reason in reasons)
        return status, reasons, f"{text}: {listed}" if listed else text


def _scale_values(scale: ScaleState) -> dict[str, str]:
    return {
        "scale_source": scale.source.value,
        "scale_value": f"{scale.value:g}",
        "scale_sigma": f"{scale.sigma:.3g}",
        "scale_age_s": f"{scale.age_s:.1f}",
    }


class _Latencies:
    """Durations of the newest frames, and their percentiles. Safe between threads."""

    def __init__(self, window: int, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._timings_ns: deque[dict[str, int]] = deque(maxlen=window)
        self._stamp_latencies_ns: deque[int] = deque(maxlen=window)
        self._values: dict[str, str] = {}
        self._due_s = 0.0

    def add(self, timings_ns: dict[str, int], stamp_latency_ns: int | None) -> None:
        with self._lock:
            self._timings_ns.append(timings_ns)
            if stamp_latency_ns is not None:
                self._stamp_latencies_ns.append(stamp_latency_ns)

    def values(self) -> dict[str, str]:
        """Computed at most once per second, without a lock: it takes milliseconds."""
        with self._lock:
            now = self._clock()
            if self._values and now < self._due_s:
                return self._values
            self._due_s = now + _LATENCIES_HOLD_S
            timings_ns, stamps_ns = list(self._timings_ns), list(self._stamp_latencies_ns)
        self._values = {**_stage_values(timings_ns), **_stamp_values(stamps_ns)}
        return self._values


def _stage_values(timings_ns: list[dict[str, int]]) -> dict[str, str]:
    """p50 and p99 in milliseconds of the total, of all but the engine, and of each stage."""
    if not timings_ns:
        return {}
    names = list(timings_ns[-1])
    rows = [[timings.get(name, 0) for name in names] for timings in timings_ns]
    stages = dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))
    total = np.sum(list(stages.values()), axis=0)
    engine = stages.pop(_ENGINE)
    shown = {"total": total, "engine": engine, "outside_engine": total - engine, **stages}
    return {
        f"latency_{stage}_{name}_ms": text
        for stage, values in shown.items()
        for name, text in _percentiles_ms(values).items()
    }


def _stamp_values(latencies_ns: list[int]) -> dict[str, str]:
    """p50 and p99 in milliseconds from an image's stamp to its last publish.

    For a bag that is played without its clock, that is the age of the recording.
    """
    found = _percentiles_ms(latencies_ns) if latencies_ns else {}
    return {f"stamp_to_publish_ms_{name}": text for name, text in found.items()}


def _percentiles_ms(values_ns: FloatArray | list[int]) -> dict[str, str]:
    return {f"p{p}": f"{np.percentile(values_ns, p) * 1e-6:.3f}" for p in (50, 99)}
