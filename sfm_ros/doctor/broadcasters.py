"""Transforms that two nodes broadcast, recognized by the counts of their messages."""

from __future__ import annotations

from collections.abc import Sequence

from sfm_ros.doctor.finding import Finding, fail
from sfm_ros.doctor.observed import Endpoint

_LEAST_RETURNS = 2
"""One may be a broadcaster that was restarted."""


class BroadcastCounts:
    """Follows the transforms on /tf, from frame to frame.

    Each publisher numbers its messages. The numbers of one broadcaster rise; those of two are
    mixed and fall again and again. Stamps cannot distinguish them.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}
        self._returns: dict[tuple[str, str], int] = {}

    def add(self, parent: str, child: str, number: int | None) -> None:
        """Add a transform of a message; None if the middleware does not number messages."""
        if number is None:
            return
        edge = (parent, child)
        if number <= self._newest.get(edge, -1):
            self._returns[edge] = self._returns.get(edge, 0) + 1
        self._newest[edge] = number

    def shared(self) -> list[tuple[str, str]]:
        """(parent, child) of the transforms that come from two publishers."""
        return sorted(edge for edge, count in self._returns.items() if count >= _LEAST_RETURNS)


def check_broadcasters(
    shared: Sequence[tuple[str, str]], endpoints: Sequence[Endpoint]
) -> list[Finding]:
    """Whether every moving transform comes from one node; see `BroadcastCounts.shared`."""
    nodes = sorted({e.node for e in endpoints if e.topic == "/tf" and e.is_publisher})
    return [
        fail(
            "tf",
            f"two nodes broadcast '{parent}' -> '{child}'; on /tf publish {', '.join(nodes)}",
            "the robot jumps between both: stop one (of two odometries, set node.publish_tf to "
            "false on one)",
        )
        for parent, child in shared
    ]
