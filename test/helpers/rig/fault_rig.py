"""A camera that checks every pose and every reason of a node while something is wrong."""

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
"""The motion that an image of FORWARD stands for."""
_SHOW_AGAIN_S = 0.3


def start_node(domain: int, *arguments: str) -> Program:
    """A node that processes every frame in order and does not wait for extrinsics."""
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    return Program([*FAKE_NODE, "{}", *parameters, *arguments], domain)


class FaultRig(Camera):
    """Drives straight ahead, lets a test cause a fault, and checks how the node coped with it.

    ``begin`` leaves the node tracking at x = 1 m. From then on every pose is checked against the
    images shown: it is no farther from the one before than the motions of the images between.
    """

    def __init__(self, probe: Probe, program: Program) -> None:
        super().__init__(probe, program)
        self.states = probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)
        self.shown: list[int] = []
        self._from, self._begin_ns = 0, 0
        self._counts_before: dict[str, str] = {}

    def begin(self) -> None:
        """Bring the node to one meter ahead of the origin, tracking."""
        self.settle(FOCAL)
        self.restart()
        self.forget()
        before = len(self.states)
        assert self.drive(STAND, FORWARD, FORWARD).pose.pose.position.x == pytest.approx(1.0)
        self.wait_for_tracking(before)
        self._counts_before = self.status_values

    def forget(self) -> None:
        """Check at the end only what is shown from here on."""
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
    def status_values(self) -> dict[str, str]:
        """Key and value of the newest status."""
        return {entry.key: entry.value for entry in self.states[-1].values}

    @property
    def status(self) -> str:
        """The newest state, without its reasons."""
        return self.status_values["status"]

    def count(self, what: Reason | str) -> int:
        """How much a counter of the status, or that of a reason, rose since ``begin``."""
        name = f"count_{what.value}" if isinstance(what, Reason) else what
        return int(self.status_values.get(name, 0)) - int(self._counts_before.get(name, 0))

    def wait_for(self, reason: Reason) -> None:
        """Wait until the node reports this reason."""
        self.program.wait_until(lambda: self.count(reason) > 0, str(reason))

    def wait_for_silence(self) -> None:
        """Wait until the node reports that images have ceased."""
        wait_until(lambda: self.status_values["reasons"] == "no_images", "the report of silence")

    def wait_for_tracking(self, since: int = 0) -> None:
        """Show standing images until a status after the first ``since`` ones is ``tracking``.

        Without them a slow machine would report that images have ceased. When it returns, all
        images have been processed.
        """

        def is_tracking(_: int) -> bool:
            return len(self.states) > since and self.status == "tracking"

        self.repeat(lambda: self.show(STAND), is_tracking, "the status")
        self.message_of(self.odometry, self.now_ns)

    def show_until(self, reason: Reason) -> None:
        """Show standing images until the node reports this reason."""
        self.repeat(lambda: self.show(STAND), lambda _: self.count(reason) > 0, reason.value)

    def settle(self, focal: float | None = None) -> None:
        """Show standing images until the node has processed some.

        Three at a time, which fill the window.

        Args:
            focal: publish this focal length, and wait until the node uses it.
        """

        def show() -> int:
            if focal is not None:
                self.calibrate(info_message(focal))
            return self.show(STAND, STAND, STAND)

        def is_settled(stamp_ns: int) -> bool:
            if not self.has_odometry_since(stamp_ns) or not self.depth_info:
                return False
            used = self.depth_info[-1].k[0] * WIDTH / self.depth_info[-1].width
            return focal is None or used == pytest.approx(focal)

        self.repeat(show, is_settled, "odometry")

    def has_odometry_since(self, stamp_ns: int) -> bool:
        """Whether there is odometry of this stamp or a later one."""
        return bool(self.odometry) and stamp_to_ns(self.odometry[-1].header.stamp) >= stamp_ns

    def repeat(self, show: Callable[[], int], until: Callable[[int], bool], what: str) -> None:
        """Show an image, wait a moment, show another, so that they do not pile up.

        Args:
            show: publishes one and gives its stamp.
            until: whether to stop, given the stamp of the first.
            what: is awaited.
        """
        first_ns = show()
        due_s = time.monotonic() + _SHOW_AGAIN_S

        def is_done() -> bool:
            nonlocal due_s
            self.assert_running()
            if time.monotonic() >= due_s:
                show()
                due_s = time.monotonic() + _SHOW_AGAIN_S
            return until(first_ns)

        self.program.wait_until(is_done, what)

    def assert_running(self) -> None:
        """Assert that the process runs."""
        assert self.program.process.poll() is None, f"the node ended:\n{self.program.output}"

    def end(self, x: float, **counts: int) -> Odometry:
        """Assert that the node continues from ``x``, and that all poses since ``begin`` are right.

        Args:
            x: where the node is.
            counts: number of images for which it has reported a reason.
        """
        self.settle()
        odometry = self.drive(FORWARD)
        self.wait_for_tracking()

        def counted() -> dict[str, int]:
            return {name: self.count(Reason(name)) for name in counts}

        # The newest status may be older than the last images.
        wait_until(lambda: counted() == counts, lambda: f"{counts}; they are {counted()}")
        assert odometry.pose.pose.position.x == pytest.approx(x + STEP_M)
        since = self.odometry[self._from :]
        self.check_poses([m for m in since if stamp_to_ns(m.header.stamp) > self._begin_ns])
        assert "Traceback" not in self.program.output
        return odometry

    def check_poses(self, odometry: list[Odometry]) -> None:
        """Assert that poses are no farther apart than the images between them allow."""
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
