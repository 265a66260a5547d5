"""Counts, status and latencies of the diagnostics."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus

from sfm_ros.datatypes import OdometryEstimate, Reason, TrackingStatus
from sfm_ros.ros.node.run_statistics import RunReport

MS = 1_000_000


def estimate(status: TrackingStatus, *reasons: Reason) -> OdometryEstimate:
    return OdometryEstimate(
        stamp_ns=1, frame_id="eye", status=status, reasons=reasons, T_prev_curr=np.eye(4)
    )


def values(report: RunReport) -> dict[str, str]:
    return {v.key: v.value for v in report.diagnostic("node", {"image_topic": "/eye"}).values}


def test_latency_is_split_into_engine_and_the_rest() -> None:
    report = RunReport()
    for milliseconds in range(1, 102):
        timings = {"queue": 1 * MS, "inference": milliseconds * MS, "publish": 2 * MS}
        report.processed(estimate(TrackingStatus.TRACKING), timings)
    found = values(report)
    assert float(found["latency_engine_p50_ms"]) == pytest.approx(51)
    assert float(found["latency_total_p50_ms"]) == pytest.approx(54)
    assert float(found["latency_outside_engine_p99_ms"]) == pytest.approx(3)
    assert float(found["latency_publish_p50_ms"]) == pytest.approx(2)
    assert found["processed"] == "101"


def test_frames_without_inference_do_not_flatter_the_latency() -> None:
    report = RunReport()
    report.processed(estimate(TrackingStatus.INITIALIZING), {"queue": MS, "publish": MS})
    assert not [key for key in values(report) if key.startswith("latency")]


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (TrackingStatus.TRACKING, DiagnosticStatus.OK),
        (TrackingStatus.DEGRADED, DiagnosticStatus.WARN),
        (TrackingStatus.LOST, DiagnosticStatus.ERROR),
    ],
)
def test_status_decides_the_level_and_reasons_the_message(
    status: TrackingStatus, level: bytes
) -> None:
    report = RunReport()
    report.image_arrived()
    report.processed(estimate(status, Reason.FLAT_DEPTH), {"inference": MS})
    diagnostic = report.diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == level
    assert diagnostic.message == f"{status.value}: flat_depth"


def test_before_the_first_image_the_topic_is_named() -> None:
    diagnostic = RunReport().diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == DiagnosticStatus.WARN
    assert "no image received yet on /eye: no_images" in diagnostic.message


def test_an_image_that_cannot_be_used_is_counted_with_its_trouble() -> None:
    report = RunReport()
    report.image_arrived()
    assert report.rejected(Reason.BAD_IMAGE, "bad step")
    assert not report.rejected(Reason.BAD_IMAGE, "worse step")  # nothing new
    report.lost_in_transport(7)
    found = values(report)
    assert (found["status"], found["reasons"]) == ("lost", "bad_image")
    assert found["rejected"] == found["count_bad_image"] == "2"
    assert found["last_trouble"] == "worse step"
    assert found["lost_in_transport"] == "7"


def test_images_that_cease_are_a_loss_until_they_come_back() -> None:
    now = [100.0]
    report = RunReport(silence_s=1.0, clock=lambda: now[0])
    assert report.silent_for_s() is None  # none came yet: another message
    report.image_arrived()
    report.processed(estimate(TrackingStatus.TRACKING), {"inference": MS})
    now[0] += 0.9
    assert values(report)["status"] == "tracking"
    now[0] += 1.1
    diagnostic = report.diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == DiagnosticStatus.ERROR
    assert diagnostic.message == "no image on /eye for 2.0 s: no_images"
    report.image_arrived()
    assert values(report)["status"] == "tracking"


def test_a_node_at_rest_says_who_told_it_to() -> None:
    report = RunReport()
    report.image_arrived()
    assert report.idle(Reason.PAUSED)
    diagnostic = report.diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == DiagnosticStatus.OK
    assert diagnostic.message == "idle: paused"
    assert values(report)["skipped"] == "1"


def test_what_is_still_under_way_does_not_wake_a_node_that_was_put_to_rest() -> None:
    now = [100.0]
    report = RunReport(silence_s=1.0, clock=lambda: now[0])
    report.image_arrived()
    assert report.rest(Reason.INACTIVE) and not report.rest(Reason.INACTIVE)
    assert not report.processed(estimate(TrackingStatus.TRACKING), {"inference": MS})
    now[0] += 60
    diagnostic = report.diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == DiagnosticStatus.OK and diagnostic.message == "idle: inactive"
    assert report.silent_for_s() is None
    assert report.begin()
    assert report.silent_for_s() is None  # the minute was nobody's fault
    now[0] += 1.5
    assert report.silent_for_s() == 1.5


def test_a_node_whose_engine_failed_does_not_look_alive() -> None:
    report = RunReport()
    report.processed(estimate(TrackingStatus.TRACKING), {"inference": MS})
    assert report.failed("out of memory")
    report.image_arrived()
    diagnostic = report.diagnostic("node", {"image_topic": "/eye"})
    assert diagnostic.level == DiagnosticStatus.ERROR
    assert diagnostic.message == "lost: engine_failed"
    assert values(report)["last_trouble"] == "out of memory"


def test_age_at_publishing_is_told_apart_from_the_stages() -> None:
    report = RunReport()
    for milliseconds in range(1, 102):
        report.processed(estimate(TrackingStatus.TRACKING), {"inference": MS}, milliseconds * MS)
    found = values(report)
    assert float(found["stamp_to_publish_ms_p50"]) == pytest.approx(51)
    assert float(found["stamp_to_publish_ms_p99"]) == pytest.approx(100)
    assert float(found["latency_total_p50_ms"]) == pytest.approx(1)
