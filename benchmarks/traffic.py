"""Traffic with a node on the middleware: sends images, receives everything it publishes."""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node_latency import StreetOfImages

from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.runs.processes import ProcessGroup

PERIOD_NS = 100_000_000
_PATIENCE_S = 60.0
_JOIN_S = 5.0


class Traffic:
    """Sends images to the node and subscribes to all its topics.

    Args:
        width, height: of the images.
    """

    def __init__(self, width: int, height: int) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticStatus
        from nav_msgs.msg import Odometry, Path
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CameraInfo, Image, PointCloud2

        rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
        self._rclpy = rclpy
        self._node = rclpy.create_node("soak")
        self._image_publisher = self._node.create_publisher(Image, "image", QoSProfile(depth=100))
        self._infos = self._node.create_publisher(CameraInfo, "camera_info", 10)
        received = {
            "odometry": Odometry,
            "path": Path,
            "depth/image": Image,
            "depth/camera_info": CameraInfo,
            "depth/image_color": Image,
            "points": PointCloud2,
            "status": DiagnosticStatus,
        }
        for name, kind in received.items():
            callback = self._on_depth if name == "depth/image" else _ignore
            self._node.create_subscription(kind, f"/sfm_node/{name}", callback, 10, raw=True)
        self._images = list(self._make_images(width, height))
        self._changed = threading.Condition()
        self.sent = self.answered = 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _make_images(self, width: int, height: int) -> Iterator[Any]:
        """A street, up and down, as messages that lack only a stamp."""
        from std_msgs.msg import Header

        from sfm_ros.ros.conversions import info_from_intrinsics, rgb_to_image

        header = Header(frame_id="camera_optical")
        for item in StreetOfImages(width, height, 38):  # of 20 images, up and down
            self._info = info_from_intrinsics(item.frame.intrinsics, header)
            yield rgb_to_image(item.frame.rgb, header)

    def _on_depth(self, content: bytes) -> None:
        """A serialized message: four bytes of encapsulation, then the stamp."""
        sec, nanosec = struct.unpack_from("<iI", content, 4)
        with self._changed:
            self.answered = (sec * 1_000_000_000 + nanosec) // PERIOD_NS
            self._changed.notify_all()

    def wait_for_node(self, children: ProcessGroup) -> None:
        """Wait until it subscribes, and send the calibration."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (
            self._image_publisher.get_subscription_count() and self._infos.get_subscription_count()
        ):
            children.check("node")
            if time.monotonic() > deadline:
                raise SfmRosError(f"the node did not appear:\n{children.log_tail('node')}")
            time.sleep(0.05)
        self._infos.publish(self._info)

    def send(self) -> None:
        """Send the next image."""
        self.sent += 1
        message = self._images[self.sent % len(self._images)]
        stamp_ns = self.sent * PERIOD_NS
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        self._image_publisher.publish(message)

    def wait_for_room(self, limit: int, timeout_s: float) -> bool:
        """Whether fewer than ``limit`` images are in flight, within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.sent - self.answered < limit, timeout_s)

    def close(self) -> None:
        """Leave the middleware."""
        self._executor.shutdown()
        self._thread.join(_JOIN_S)
        self._node.destroy_node()
        self._rclpy.try_shutdown()


def _ignore(_: bytes) -> None:
    """It is enough that the message is sent and received."""


def node_command(
    bundle: Path, threads: int, image_queue: str, extrinsics_wait_s: float = 0.0
) -> list[str]:
    """The command that starts the node for `Traffic`."""
    parameters = {
        "model.bundle": bundle,
        "model.threads": threads,
        "node.image_queue": image_queue,
        "node.extrinsics_wait_s": extrinsics_wait_s,
    }
    words = [sys.executable, "-m", "sfm_ros.ros.node", "--ros-args"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={value}"]
    return words
