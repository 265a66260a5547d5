"""Counts, state and latencies of the diagnostics."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus

from sfm_ros.datatypes import OdometryEstimate, Reason, TrackingStatus
from sfm_ros.ros.node.run_statistics import RunStatistics

MS = 1_000_000
TRACKING, LOST, IDLE = TrackingStatus.TRACKING, TrackingStatus.LOST, TrackingStatus.IDLE


class Changes:
    """Statistics on a clock that is set by hand, and how often their state changed."""

    def __init__(self, silence_s: float = 1.0) -> None:
        self.now_s = 100.0
        self.count = 0
        self.statistics = RunStatistics(silence_s=silence_s, clock=lambda: self.now_s)
        self.statistics.on_change = self._on_change

    def _on_change(self) -> None:
        self.count += 1
        self.statistics.diagnostic("node", {"image_topic": "/eye"})  # no lock is held


def estimate(status: TrackingStatus, *reasons: Reason) -> OdometryEstimate:
    return OdometryEstimate(
        stamp_ns=1, frame_id="eye", status=status, reasons=reasons, T_prev_curr=np.eye(4)
    )


def diagnostic(statistics: RunStatistics) -> DiagnosticStatus:
    return statistics.diagnostic("node", {"image_topic": "/eye"})


def values(statistics: RunStatistics) -> dict[str, str]:
    return {entry.key: entry.value for entry in diagnostic(statistics).values}


def test_latency_is_split_into_engine_and_the_rest() -> None:
    statistics = RunStatistics()
    for milliseconds in range(1, 102):
        timings = {"queue": 1 * MS, "inference": milliseconds * MS, "publish": 2 * MS}
        statistics.processed(estimate(TRACKING), timings)
    found = values(statistics)
    assert float(found["latency_engine_p50_ms"]) == pytest.approx(51)
    assert float(found["latency_total_p50_ms"]) == pytest.approx(54)
    assert float(found["latency_outside_engine_p99_ms"]) == pytest.approx(3)
    assert float(found["latency_publish_p50_ms"]) == pytest.approx(2)
    assert found["processed"] == "101"


def test_frames_without_inference_do_not_lower_the_latency() -> None:
    statistics = RunStatistics()
    statistics.processed(estimate(TrackingStatus.INITIALIZING), {"queue": MS, "publish": MS})
    assert not [key for key in values(statistics) if key.startswith("latency")]


def test_latencies_are_computed_once_per_second() -> None:
    changes = Changes()
    statistics = changes.statistics
    statistics.processed(estimate(TRACKING), {"inference": MS})
    before = values(statistics)["latency_total_p50_ms"]
    statistics.processed(estimate(TRACKING), {"inference": 9 * MS})
    assert values(statistics)["latency_total_p50_ms"] == before
    changes.now_s += 1.0
    assert float(values(statistics)["latency_total_p50_ms"]) == pytest.approx(5)


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (TRACKING, DiagnosticStatus.OK),
        (TrackingStatus.DEGRADED, DiagnosticStatus.WARN),
        (LOST, DiagnosticStatus.ERROR),
    ],
)
def test_status_gives_the_level_and_reasons_the_message(
    status: TrackingStatus, level: bytes
) -> None:
    statistics = RunStatistics()
    statistics.image_received()
    statistics.processed(estimate(status, Reason.FLAT_DEPTH), {"inference": MS})
    assert diagnostic(statistics).level == level
    assert diagnostic(statistics).message == f"{status.value}: flat_depth"


def test_topic_is_named_before_the_first_image() -> None:
    found = diagnostic(RunStatistics())
    assert found.level == DiagnosticStatus.WARN
    assert "no image received yet on /eye: no_images" in found.message


def test_rejected_images_are_counted_with_their_problem() -> None:
    changes = Changes()
    statistics = changes.statistics
    statistics.image_received()
    for problem in ("bad step", "worse step"):
        statistics.transition(LOST, Reason.BAD_IMAGE, problem=problem, counter="rejected")
        assert changes.count == 1  # only the problem is another one
    statistics.set_lost_in_transport(7)
    found = values(statistics)
    assert (found["status"], found["reasons"]) == ("lost", "bad_image")
    assert found["rejected"] == found["count_bad_image"] == "2"
    assert found["last_trouble"] == "worse step"
    assert found["lost_in_transport"] == "7"


def test_other_reasons_are_a_change() -> None:
    changes = Changes()
    for reason, count in ((Reason.GAP, 1), (Reason.GAP, 1), (Reason.FLAT_DEPTH, 2)):
        changes.statistics.processed(estimate(TrackingStatus.DEGRADED, reason), {})
        assert changes.count == count
    assert values(changes.statistics)["count_gap"] == "2"


def test_images_that_cease_are_a_loss_until_they_return() -> None:
    changes = Changes(silence_s=1.0)
    statistics = changes.statistics
    assert statistics.silent_for_s() is None  # none was received yet: another message
    statistics.image_received()
    statistics.processed(estimate(TRACKING), {"inference": MS})
    changes.now_s += 0.9
    assert values(statistics)["status"] == "tracking"
    changes.now_s += 1.1
    found = diagnostic(statistics)
    assert found.level == DiagnosticStatus.ERROR
    assert found.message == "no image on /eye for 2.0 s: no_images"
    statistics.image_received()
    assert values(statistics)["status"] == "tracking"


def test_idle_state_has_its_reason() -> None:
    changes = Changes()
    changes.statistics.image_received()
    changes.statistics.transition(IDLE, Reason.PAUSED, counter="skipped")
    assert changes.count == 1
    found = diagnostic(changes.statistics)
    assert found.level == DiagnosticStatus.OK
    assert found.message == "idle: paused"
    assert (
        values(changes.statistics)["skipped"] == values(changes.statistics)["count_paused"] == "1"
    )


def test_held_state_ignores_images_under_way() -> None:
    changes = Changes(silence_s=1.0)
    statistics = changes.statistics
    statistics.image_received()
    for _ in range(2):
        statistics.hold(IDLE, Reason.INACTIVE)
    statistics.processed(estimate(TRACKING, Reason.GAP), {"inference": MS})
    assert changes.count == 1
    assert values(statistics)["count_gap"] == "1"  # counted nevertheless
    assert "count_inactive" not in values(statistics)  # the reason of no image
    changes.now_s += 60
    found = diagnostic(statistics)
    assert found.level == DiagnosticStatus.OK and found.message == "idle: inactive"
    assert statistics.silent_for_s() is None
    statistics.resume()
    assert changes.count == 2
    assert statistics.silent_for_s() is None  # no image was expected in that minute
    changes.now_s += 1.5
    assert statistics.silent_for_s() == 1.5


def test_failed_engine_remains_an_error() -> None:
    statistics = RunStatistics()
    statistics.processed(estimate(TRACKING), {"inference": MS})
    statistics.hold(LOST, Reason.ENGINE_FAILED, "out of memory")
    statistics.image_received()
    found = diagnostic(statistics)
    assert found.level == DiagnosticStatus.ERROR
    assert found.message == "lost: engine_failed"
    assert values(statistics)["last_trouble"] == "out of memory"


def test_age_at_publishing_is_separate_from_the_stages() -> None:
    statistics = RunStatistics()
    for milliseconds in range(1, 102):
        statistics.processed(estimate(TRACKING), {"inference": MS}, milliseconds * MS)
    found = values(statistics)
    assert float(found["stamp_to_publish_ms_p50"]) == pytest.approx(51)
    assert float(found["stamp_to_publish_ms_p99"]) == pytest.approx(100)
    assert float(found["latency_total_p50_ms"]) == pytest.approx(1)
