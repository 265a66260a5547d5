"""Processes over the real middleware, each group on a domain of its own."""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.probe import Probe, Program

if importlib.util.find_spec("rclpy") is not None:  # else the test modules skip themselves
    import rclpy
    from rclpy.executors import MultiThreadedExecutor
    from rig.own_node import OwnNode

_DOMAINS = 100
_next = itertools.count(os.getpid() * 7)


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    """A ROS domain that no other test module on this machine uses at the same time."""
    while True:
        number = 1 + next(_next) % _DOMAINS
        with open(Path(tempfile.gettempdir()) / f"sfm_ros_domain_{number}", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return


@pytest.fixture(scope="module")
def probe(domain: int) -> Iterator[Probe]:
    """A probe on the module's domain."""
    made = Probe(domain)
    yield made
    made.close()


@pytest.fixture
def start(domain: int) -> Iterator[Callable[[list[str]], Program]]:
    """Starts programs that end with the test."""
    programs: list[Program] = []

    def run(command: list[str]) -> Program:
        programs.append(Program(command, domain))
        return programs[-1]

    yield run
    for program in programs:
        program.kill()


@pytest.fixture
def own_node(probe: Probe, domain: int) -> Iterator[Callable[..., OwnNode]]:
    """Starts nodes that end with the test: ``own_node(space, *words, **options)``."""
    nodes: list[OwnNode] = []

    def make(space: str, *words: str, **options: Any) -> OwnNode:
        nodes.append(OwnNode(probe, domain, space, *words, **options))
        return nodes[-1]

    yield make
    for node in nodes:
        node.program.kill()


@pytest.fixture
def executor(domain: int) -> Iterator[MultiThreadedExecutor]:
    """Spins in a thread, in a context of its own; its nodes are destroyed in the end."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    made = MultiThreadedExecutor(4, context=context)

    def spin() -> None:
        try:
            made.spin()
        except Exception:
            if context.ok():  # else a test has shut it down
                raise

    thread = threading.Thread(target=spin)
    thread.start()
    yield made
    nodes = made.get_nodes()
    made.shutdown()
    thread.join()
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()
