"""A camera that watches the node while something is wrong: every pose, every reason."""

from __future__ import annotations

import array
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from rig.camera import FOCAL, FRAME, PERIOD_NS, WIDTH, image_message, info_message
from rig.camera_driver import Camera
from rig.fake_node import FORWARD, STAND
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until
from sfm_ros.datatypes import Reason
from sfm_ros.ros.conversions import stamp_from_ns, stamp_to_ns

LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STEP_M = 0.5
"""What an image of FORWARD tells."""
_SHOW_AGAIN_S = 0.3


def start_node(domain: int, *arguments: str) -> Program:
    """A node that takes every frame in order and looks for no extrinsics."""
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    return Program([*FAKE_NODE, "{}", *parameters, *arguments], domain)


class FaultRig(Camera):
    """Drives straight ahead, lets a test do its worst, and sees whether the node stood it.

    ``begin`` leaves the node tracking at x = 1 m. From then on every pose is held against the
    images shown: between two poses no more than their motions may lie.
    """

    def __init__(self, probe: Probe, program: Program) -> None:
        super().__init__(probe, program)
        self.states = probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)
        self.shown: list[int] = []
        self._from, self._begin_ns = 0, 0
        self._counts_before: dict[str, str] = {}

    def begin(self) -> None:
        """One meter ahead of the origin, tracking, everything before forgotten."""
        self.settle(FOCAL)
        self.restart()
        self.forget()
        told = len(self.states)
        assert self.drive(STAND, FORWARD, FORWARD).pose.pose.position.x == pytest.approx(1.0)
        wait_until(lambda: self.states[told:] and self.status == "tracking", "the status")
        self._counts_before = self.told_values

    def forget(self) -> None:
        """Only what is shown from here on is looked at in the end."""
        self.shown.clear()
        self._begin_ns = self.now_ns
        self._from = len(self.odometry)

    def show(self, *levels: int) -> int:
        """Publish images 0.1 s apart; the stamp of the last."""
        for level in levels:
            self.now_ns += PERIOD_NS
            self.send(image_message(level, self.now_ns))
        return self.now_ns

    def show_pixels(self, rgb: np.ndarray) -> int:
        """Publish an image of any size 0.1 s after the one before; its stamp."""
        self.now_ns += PERIOD_NS
        self.send(message_of(rgb, self.now_ns))
        return self.now_ns

    def send(self, message: Image) -> None:
        """Publish an image as it is."""
        self.shown.append(stamp_to_ns(message.header.stamp))
        self.probe.publish("/image", message)

    @property
    def told_values(self) -> dict[str, str]:
        """Key and value of the newest status."""
        return {entry.key: entry.value for entry in self.states[-1].values}

    @property
    def status(self) -> str:
        """The newest state, without its reasons."""
        return self.told_values["status"]

    def count(self, what: Reason | str) -> int:
        """How much a counter of the status, or that of a reason, rose since ``begin``."""
        name = f"count_{what.value}" if isinstance(what, Reason) else what
        return int(self.told_values.get(name, 0)) - int(self._counts_before.get(name, 0))

    def wait_for(self, reason: Reason) -> None:
        """Wait until the node gives this reason."""
        wait_until(lambda: self.count(reason) > 0, f"{reason}; {self.program.said}")

    def show_until(self, reason: Reason) -> None:
        """Show standing images until the node gives this reason."""
        self.repeat(lambda: self.show(STAND), lambda _: self.count(reason) > 0, reason.value)

    def settle(self, focal: float | None = None) -> None:
        """Show standing images until the node answers.

        Three at a time: so many fill the window.

        Args:
            focal: tell the node of this focal length, and wait until it uses it.
        """

        def show() -> int:
            if focal is not None:
                self.calibrate(info_message(focal))
            return self.show(STAND, STAND, STAND)

        def answered(stamp_ns: int) -> bool:
            if not self.has_answered(stamp_ns) or not self.depth_info:
                return False
            used = self.depth_info[-1].k[0] * WIDTH / self.depth_info[-1].width
            return focal is None or used == pytest.approx(focal)

        self.repeat(show, answered, "odometry")

    def has_answered(self, stamp_ns: int) -> bool:
        """Whether there is odometry of this stamp or a later one."""
        return bool(self.odometry) and stamp_to_ns(self.odometry[-1].header.stamp) >= stamp_ns

    def repeat(self, show: Callable[[], int], until: Callable[[int], bool], what: str) -> None:
        """Show an image, give the node a moment, show another: none piles up before it.

        Args:
            show: publishes one and gives its stamp.
            until: whether to stop, given the stamp of the first.
            what: is awaited.
        """
        first_ns = show()
        due_s = time.monotonic() + _SHOW_AGAIN_S

        def done() -> bool:
            nonlocal due_s
            self.assert_alive()
            if time.monotonic() >= due_s:
                show()
                due_s = time.monotonic() + _SHOW_AGAIN_S
            return until(first_ns)

        wait_until(done, f"{what}; the node said:\n{self.program.said[-2000:]}")

    def assert_alive(self) -> None:
        """The process is there."""
        assert self.program.process.poll() is None, f"the node died:\n{self.program.said}"

    def end(self, x: float, **counts: int) -> Odometry:
        """The node goes on from ``x``, in one step, and all poses since ``begin`` were right.

        Args:
            x: where the node stands.
            counts: for how many images it gave a reason.
        """
        self.settle()
        odometry = self.drive(FORWARD)
        self.assert_alive()
        wait_until(lambda: self.status == "tracking", "the status")
        assert {name: self.count(Reason(name)) for name in counts} == counts
        assert odometry.pose.pose.position.x == pytest.approx(x + STEP_M)
        since = self.odometry[self._from :]
        self.check_poses([m for m in since if stamp_to_ns(m.header.stamp) > self._begin_ns])
        assert "Traceback" not in self.program.said
        return odometry

    def check_poses(self, odometry: list[Odometry]) -> None:
        """No pose lies farther from the one before than the images between them tell."""
        assert odometry
        for message in odometry:
            p, q = message.pose.pose.position, message.pose.pose.orientation
            assert abs(p.y) + abs(p.z) < 1e-9 and abs(q.w) == pytest.approx(1.0)
            assert math.isfinite(p.x) and np.isfinite(message.pose.covariance).all()
            assert np.diag(np.reshape(message.pose.covariance, (6, 6))).min() >= 0
        stamps = [stamp_to_ns(message.header.stamp) for message in odometry]
        assert set(stamps) <= set(self.shown), "a pose for an image that was not shown"
        for a, b in zip(odometry[:-1], odometry[1:], strict=True):
            from_ns, to_ns = stamp_to_ns(a.header.stamp), stamp_to_ns(b.header.stamp)
            assert from_ns < to_ns
            between = sum(from_ns < stamp <= to_ns for stamp in self.shown)
            ahead = b.pose.pose.position.x - a.pose.pose.position.x
            assert -1e-9 <= ahead <= between * STEP_M + 1e-9


def message_of(rgb: np.ndarray, stamp_ns: int) -> Image:
    """An image of (h, w, 3), or (h, w) gray, as a message."""
    height, width = rgb.shape[:2]
    encoding, depth = ("mono8", 1) if rgb.ndim == 2 else ("rgb8", 3)
    message = Image(width=width, height=height, encoding=encoding, step=depth * width)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = FRAME
    message.data = array.array("B", rgb.tobytes())
    return message
