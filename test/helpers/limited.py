"""Runs Python code in a process with little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
_PREFIX = """
import resource
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
"""
_SUFFIX = """
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0])
"""


@dataclass(frozen=True)
class LimitedRun:
    """How a run ended; ``peak_mib`` is the largest resident memory if it ended in order."""

    code: int
    output: str
    error: str

    @property
    def peak_mib(self) -> float:
        return int(self.output.split()[-1]) / 1024


def run_limited(code: str, *arguments: object, limit_mib: int = 2048) -> LimitedRun:
    """Run code with ``sys.argv[1:]`` and at most this much address space."""
    text = _PREFIX.format(limit=limit_mib * MIB) + code + _SUFFIX
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    return LimitedRun(done.returncode, done.stdout, done.stderr)
