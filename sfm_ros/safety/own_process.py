"""What a program does first in a process of its own. Standard library only."""

from __future__ import annotations

from sfm_ros.safety.interrupts import PATIENCE_S, guard
from sfm_ros.safety.streams import secure_output


def own_process(name: str, patience_s: float = PATIENCE_S) -> None:
    """Make the end by a second Ctrl-C and the printing of this process sure: see `guard`."""
    secure_output()
    guard(name, patience_s)
