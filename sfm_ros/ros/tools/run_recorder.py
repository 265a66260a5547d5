"""Listens beside the node and keeps what it hears, for an evaluation from outside.

It notes when each image was published and when its odometry arrived, by the middleware's own
stamps, and keeps every n-th image with its depth map. It knows of the node only its topics.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.errors import ImageError
from sfm_ros.evaluation.runs.recording import DepthRecord, RecordingWriter
from sfm_ros.formats.image_codec import decode_compressed, decode_raw
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.ros.conversions import stamp_to_ns

_EVERYTHING = QoSProfile(history=HistoryPolicy.KEEP_ALL)
_LOOK_S = 0.05


class Recorder(Node):
    """Subscribes to the node's odometry and depth and, once the node is there, to the images.

    Args:
        writer: where what is heard goes.
        keep_every: keep every so many-th image and its depth map.
        compressed: the images are sensor_msgs/CompressedImage.
    """

    def __init__(self, writer: RecordingWriter, keep_every: int, compressed: bool = False) -> None:
        super().__init__("sfm_recorder")
        self._writer = writer
        self._keep_every = keep_every
        self._kind = CompressedImage if compressed else Image
        self._seen = 0
        self._wanted: set[int] = set()
        self._K: FloatArray | None = None
        self._before_calibration: list[Image] = []
        self._subscribe(Odometry, "odometry", self._on_odometry)
        self.create_subscription(Image, "depth", self._on_depth, _EVERYTHING)
        self.create_subscription(CameraInfo, "depth/camera_info", self._on_info, _EVERYTHING)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._starting = self.create_timer(_LOOK_S, self._hear_images_once_the_node_is_there)

    def _hear_images_once_the_node_is_there(self) -> None:
        """Subscribe to the images last: a player that waits for this loses no odometry."""
        topics = [self.resolve_topic_name(name) for name in ("odometry", "depth")]
        if all(self.count_publishers(topic) for topic in topics):
            self._starting.cancel()
            self._subscribe(self._kind, "image", self._on_image, raw=True)

    def _subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any, dict[str, Any]], None],
        raw: bool = False,
    ) -> None:
        """With the middleware's stamps as second argument, which rclpy's annotations leave out."""
        self.create_subscription(kind, topic, cast(Any, callback), _EVERYTHING, raw=raw)

    def _on_image(self, message: bytes, info: dict[str, Any]) -> None:
        sent_ns = info["source_timestamp"] or time.time_ns()
        stamp_ns = stamp_of_serialized(message)
        self._writer.image(stamp_ns, sent_ns)
        if self._seen % self._keep_every == 0:
            self._wanted.add(stamp_ns)
            self._keep_image(stamp_ns, message)
        self._seen += 1

    def _keep_image(self, stamp_ns: int, serialized: bytes) -> None:
        message = deserialize_message(serialized, self._kind)
        try:
            if self._kind is CompressedImage:
                rgb = decode_compressed(message.data, message.format)
            else:
                layout = (message.width, message.height, message.step, message.encoding)
                rgb = decode_raw(message.data, *layout, bool(message.is_bigendian))
        except ImageError as error:
            self.get_logger().warning(f"an image is not kept: {error}")
            return
        self._writer.pixels(stamp_ns, rgb)

    def _on_odometry(self, message: Odometry, info: dict[str, Any]) -> None:
        received_ns = info["received_timestamp"] or time.time_ns()
        p, q = message.pose.pose.position, message.pose.pose.orientation
        pose = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
        self._writer.odometry(stamp_to_ns(message.header.stamp), received_ns, pose)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": odometry"):
                values = {entry.key: entry.value for entry in status.values}
                self._writer.diagnostics({"summary": status.message, **values})

    def _on_info(self, message: CameraInfo) -> None:
        self._K = np.array(message.k, dtype=np.float64).reshape(3, 3)
        for waiting in self._before_calibration:
            self._on_depth(waiting)
        self._before_calibration.clear()

    def _on_depth(self, message: Image) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns not in self._wanted:
            return
        if self._K is None:
            self._before_calibration.append(message)
            return
        self._wanted.discard(stamp_ns)
        self._writer.depth(stamp_ns, DepthRecord(depth=depth_of(message), K=self._K))


def depth_of(message: Image) -> DepthMap:
    """(h, w) float32 of a 32FC1 image.

    Raises:
        ImageError: another encoding.
    """
    if message.encoding != "32FC1":
        raise ImageError(f"a depth image has encoding '{message.encoding}', expected 32FC1")
    kind = ">f4" if message.is_bigendian else "<f4"
    rows = np.frombuffer(message.data, dtype=kind).reshape(message.height, message.step // 4)
    return rows[:, : message.width].astype(np.float32)


def main(args: list[str] | None = None) -> int:
    """Record until told to stop by SIGINT or SIGTERM."""
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spinning
    parser = argparse.ArgumentParser(prog="recorder", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the recording")
    parser.add_argument("--keep-every", type=int, default=10, help="keep every n-th image")
    parser.add_argument("--compressed", action="store_true", help="images are compressed")
    command_line = sys.argv if args is None else ["recorder", *args]
    options = parser.parse_args(remove_ros_args(command_line)[1:])
    rclpy.init(args=args)
    writer = RecordingWriter(options.out)
    recorder = Recorder(writer, max(options.keep_every, 1), options.compressed)
    try:
        rclpy.spin(recorder)
    except ExternalShutdownException:
        pass
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
