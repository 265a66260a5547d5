"""A node that is ended or killed at the worst moment, and one that starts after it."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rig.probe import FAKE_NODE, REAL_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND

from sfm_ros.ros.conversions import stamp_to_ns

FOREVER = 600
"""Seconds: no test waits this long."""
STAGES = ("load", "inference", "shutdown")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Doomed(NamedTuple):
    """A node that is going to be ended, in a namespace of its own."""

    space: str
    program: Program


def start_node(domain: int, space: str, options: str = "{}") -> Program:
    """A node in a namespace that processes every image."""
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    return Program([*FAKE_NODE, options, *parameters, "-r", f"__ns:={space}"], domain)


@pytest.fixture(scope="module")
def doomed(domain: int) -> Iterator[dict[tuple[str, str], Doomed]]:
    """A node for each signal and stage; they start in parallel, because most of it is waiting."""
    nodes = {}
    for number, stage in itertools.product(SIGNALS, STAGES):
        space = f"/{number.name}_{stage}"
        options = f'{{"{"load_s" if stage == "load" else "busy_s"}": {FOREVER}}}'
        nodes[number.name, stage] = Doomed(space, start_node(domain, space, options))
    yield nodes
    for node in nodes.values():
        node.program.process.kill()  # those that a test has not ended


def bring_to(stage: str, node: Doomed, probe: Probe) -> Program:
    """The node, once it is busy with this stage, for long."""
    space, program = node
    if stage == "load":
        program.wait_for("loading")
        return program
    stamps = itertools.count(PERIOD_NS, PERIOD_NS)

    def is_inferring() -> bool:
        probe.publish(f"{space}/camera_info", info_message())
        probe.publish(f"{space}/image", image_message(STAND, next(stamps)))
        time.sleep(0.03)
        return "inferring" in program.output

    program.wait_until(is_inferring, "an inference")
    if stage == "shutdown":
        program.process.send_signal(signal.SIGINT)
        subscriptions = probe.node.count_subscribers
        wait_until(lambda: not subscriptions(f"{space}/image"), "the node to leave the middleware")
    return program


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", SIGNALS[:2])
def test_signal_ends_the_node_with_success(
    number: signal.Signals,
    stage: str,
    probe: Probe,
    doomed: dict[tuple[str, str], Doomed],
    capsys: pytest.CaptureFixture,
) -> None:
    """Within two seconds on an idle machine; the time it took is printed."""
    program = bring_to(stage, doomed[number.name, stage], probe)
    sent_s = time.monotonic()
    assert program.end(number) == 0, program.output
    with capsys.disabled():
        print(f"\n{number.name} during {stage}: ended in {time.monotonic() - sent_s:.2f} s")
    assert "Traceback" not in program.output


@pytest.mark.parametrize("stage", STAGES)
def test_killed_node_can_be_started_again(
    stage: str, probe: Probe, domain: int, doomed: dict[tuple[str, str], Doomed]
) -> None:
    """On the same topics: what the first one left in shared memory does not block the second."""
    node = doomed[signal.SIGKILL.name, stage]
    assert bring_to(stage, node, probe).end(signal.SIGKILL) == -signal.SIGKILL

    space = node.space
    odometry = probe.listen(f"{space}/sfm_node/odometry", Odometry)
    program = start_node(domain, space)
    stamp = 10**12

    def is_tracking() -> bool:
        nonlocal stamp
        probe.publish(f"{space}/camera_info", info_message())
        for _ in range(3):
            stamp += PERIOD_NS
            probe.publish(f"{space}/image", image_message(FORWARD, stamp))
        time.sleep(0.1)  # images of 30 Hz
        return bool(odometry)

    try:
        program.wait_until(is_tracking, "odometry")
        assert stamp_to_ns(odometry[0].header.stamp) > 10**12
        assert odometry[0].pose.pose.position.x == pytest.approx(1.0)
        assert program.end(signal.SIGINT) == 0, program.output
    finally:
        program.kill()


def start_program(domain: int, space: str) -> Program:
    """The real program, with a real model, as it is installed."""
    words = ["-r", f"__ns:={space}"]
    return Program([*REAL_NODE, *ros_arguments(node__extrinsics_wait_s=0.0), *words], domain)


def wait_for_imports(program: Program) -> None:
    """Wait until the program is in the middle of its imports."""
    maps = Path(f"/proc/{program.process.pid}/maps")
    wait_until(lambda: "_multiarray_umath" in maps.read_text(), "NumPy to be loaded")


def wait_for_node(probe: Probe, space: str) -> None:
    wait_until(lambda: probe.node.count_publishers(f"{space}/sfm_node/odometry"), "the node")


@pytest.mark.parametrize("number", SIGNALS[:2])
def test_signal_during_imports_ends_the_program(number: signal.Signals, domain: int) -> None:
    program = start_program(domain, "/importing")
    wait_for_imports(program)
    assert program.end(number) == 0, program.output
    assert not program.output


def test_repeated_signals_end_the_program_with_success(probe: Probe, domain: int) -> None:
    """One every 10 ms, to its very end: none meets a default handler."""
    program = start_program(domain, "/repeated")
    wait_for_node(probe, "/repeated")

    def has_ended() -> bool:
        os.kill(program.process.pid, signal.SIGINT)  # unlike Popen's, it does not reap the process
        time.sleep(0.01)
        return program.process.poll() is not None

    wait_until(has_ended, "the end")
    assert program.process.returncode == 0, program.output


@pytest.mark.parametrize("stage", ["imports", "running"])
def test_program_is_there_for_the_second_signal_of_launch(
    stage: str, probe: Probe, domain: int
) -> None:
    """Launch would report one that has ended by then with exit code 255, as one that died."""
    space = f"/launched_{stage}"
    program = start_program(domain, space)
    if stage == "imports":
        wait_for_imports(program)
    else:
        wait_for_node(probe, space)
    program.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert program.process.poll() is None
    assert program.end(signal.SIGINT) == 0, program.output
