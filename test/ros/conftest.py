"""Processes over the real middleware, each group on a domain of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from rig.probe import Probe, Program

_domains = itertools.count(os.getpid())

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")


@pytest.fixture(scope="module")
def domain() -> int:
    """A ROS domain of this test module and process alone."""
    return 1 + next(_domains) * 7 % 100


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
