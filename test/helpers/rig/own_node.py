"""A node in a namespace of its own, beside others on the same domain."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import STAND
from rig.fault_rig import LATCHED
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until


class OwnNode:
    """The node, and what is shown to it.

    Args:
        probe: publishes and receives.
        domain: of the node.
        space: its namespace.
        words: further words of its command line.
        fake: how its networks behave, see `rig.fake_node`.
        options: its parameters, ``__`` for the dot.
    """

    def __init__(
        self,
        probe: Probe,
        domain: int,
        space: str,
        *words: str,
        fake: str = "{}",
        **options: Any,
    ) -> None:
        self.probe, self.space = probe, space
        parameters = ros_arguments(
            **{"node__image_queue": "every", "node__extrinsics_wait_s": 0.0, **options}
        )
        self.program = Program(
            [*FAKE_NODE, fake, *parameters, "-r", f"__ns:={space}", *words], domain
        )
        self.states = probe.listen(f"{space}/sfm_node/status", DiagnosticStatus, LATCHED)
        self.first_stamp_ns = 2 * PERIOD_NS
        self._stamp_ns = PERIOD_NS
        self._is_calibrated = False

    def listen(self, name: str, kind: type) -> list:
        """Subscribe to a topic in the namespace; the list returned grows."""
        return self.probe.listen(f"{self.space}/{name}", kind)

    def calibrate(self) -> None:
        """Publish the calibration from now on, with every image as a driver does."""
        self._is_calibrated = True

    def show_until(self, condition: Callable[[], Any], what: str, level: int = STAND) -> Any:
        """Show images until a condition is true; its value."""

        def show() -> Any:
            if self._is_calibrated:
                self.probe.publish(f"{self.space}/camera_info", info_message())
            self._stamp_ns += PERIOD_NS
            self.probe.publish(f"{self.space}/image", image_message(level, self._stamp_ns))
            time.sleep(0.03)
            return condition()

        return wait_until(
            show, lambda: f"{what}; the status is {self.message()}; {self.program.output}"
        )

    def message(self) -> str:
        """The newest state with its reasons."""
        return self.states[-1].message if self.states else ""
