"""The wait for a node that lags behind its recording."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from rig.probe import Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rig.fault_rig import LATCHED

from sfm_ros.ros.tools import node_drain

DRAIN = [sys.executable, "-m", node_drain.__name__, "--node"]


def status(**counts: int) -> DiagnosticStatus:
    return DiagnosticStatus(values=[KeyValue(key=k, value=str(v)) for k, v in counts.items()])


def test_waits_while_the_node_still_works(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    program = start([*DRAIN, "/busy"])
    processed = 0

    def work() -> None:
        nonlocal processed
        processed += 1
        counts = {"received": 90, "processed": processed, "odometry": processed}
        probe.publish("/busy/status", status(**counts), LATCHED)

    def has_worked_for_long() -> bool:
        work()
        assert program.process.poll() is None, program.output
        return processed >= 50

    wait_until(has_worked_for_long, "fifty images")

    def is_done() -> bool:  # as the node does, although nothing changes
        probe.publish("/busy/status", status(received=90, processed=50, odometry=50), LATCHED)
        return program.process.poll() is not None

    wait_until(is_done, "the end of the wait")
    assert program.end() == 0
    assert "/busy is done: 90 images received, 50 odometries published" in program.output


def test_a_node_that_has_ended_is_reported(start: Callable[[list[str]], Program]) -> None:
    """With a shorter patience: nothing comes, however long one waits."""
    hasty = f"import sys, {node_drain.__name__} as m; m._ABSENT_S = 0.5; sys.exit(m.main())"
    program = start([sys.executable, "-c", hasty, "--node", "/gone"])
    assert program.end() == 1
    assert "/gone has not reported its status for 0.5 s: it ended before" in program.output
