"""Record what the node receives and publishes, for an evaluation from outside.

Notes when each image was published and when its odometry arrived, by the middleware's stamps, and
keeps every n-th image with its depth map. It depends on the node's topics only.
"""

from __future__ import annotations

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

from sfm_ros.cli.program import program_parser
from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.errors import ImageError, SfmRosError, printable
from sfm_ros.evaluation.runs.recording import RECORDER_NAME, DepthRecord, RecordingWriter
from sfm_ros.formats.image_codec import decode_message
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.process.refusals import one_line_errors
from sfm_ros.ros.tools.camera_poses import CameraPoses
from sfm_ros.safety.streams import secure_output

_KEEP_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)
_DISCOVERY_PERIOD_S = 0.05
_TF_PERIOD_S = 0.2
_MAX_WAITING = 64
"""Depth maps that wait for their image or for the calibration; half a megabyte each."""


class RunRecorder(Node):
    """Subscribes to the node's odometry and depth and, once the node is up, to the images.

    Args:
        writer: of the recording.
        keep_every: keep every n-th image and its depth map.
        compressed: the images are sensor_msgs/CompressedImage.
    """

    def __init__(self, writer: RecordingWriter, keep_every: int, compressed: bool = False) -> None:
        super().__init__(RECORDER_NAME)
        self._writer = writer
        self._keep_every = keep_every
        self._image_type = CompressedImage if compressed else Image
        self._received = 0
        self._kept_stamps: set[int] = set()
        self._K: FloatArray | None = None
        self._waiting: dict[int, Image] = {}
        self._uncertainties: dict[int, Image] = {}
        self._poses = CameraPoses(self)
        self._subscribe(Odometry, "odometry", self._on_odometry)
        self.create_subscription(Image, "depth", self._on_depth, _KEEP_ALL)
        self.create_subscription(Image, "depth/uncertainty", self._on_uncertainty, _KEEP_ALL)
        self.create_subscription(CameraInfo, "depth/camera_info", self._on_info, _KEEP_ALL)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._discovery = self.create_timer(_DISCOVERY_PERIOD_S, self._subscribe_to_images)
        self.create_timer(_TF_PERIOD_S, self._write_poses)
        # Of several nodes in one system, the one whose odometry is recorded.
        self._status_name = f"{self.resolve_topic_name('odometry').rpartition('/')[0]}: odometry"

    def _subscribe_to_images(self) -> None:
        """Once the node publishes: a player that waits for this subscriber loses no odometry."""
        topics = [self.resolve_topic_name(name) for name in ("odometry", "depth")]
        if all(self.count_publishers(topic) for topic in topics):
            self._discovery.cancel()
            self._subscribe(self._image_type, "image", self._on_image, raw=True)

    def _subscribe(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any, dict[str, Any]], None],
        raw: bool = False,
    ) -> None:
        """Subscribe with the middleware's stamps as second argument.

        rclpy supports such callbacks, but its annotations do not.
        """
        self.create_subscription(message_type, topic, cast(Any, callback), _KEEP_ALL, raw=raw)

    def _on_image(self, message: bytes, info: dict[str, Any]) -> None:
        sent_ns = info["source_timestamp"] or time.time_ns()
        stamp_ns = stamp_of_serialized(message)
        self._writer.image(stamp_ns, sent_ns)
        if self._received % self._keep_every == 0:
            self._kept_stamps.add(stamp_ns)
            self._keep_image(stamp_ns, message)
            self._keep_depth(stamp_ns)
        self._received += 1

    def _keep_image(self, stamp_ns: int, serialized: bytes) -> None:
        message = deserialize_message(serialized, self._image_type)
        self._poses.optical_frame = message.header.frame_id
        try:
            self._writer.pixels(stamp_ns, decode_message(message))
        except ImageError as error:
            self.get_logger().warning(
                f"an image is not kept: {printable(error)}", throttle_duration_sec=2.0
            )

    def _on_odometry(self, message: Odometry, info: dict[str, Any]) -> None:
        received_ns = info["received_timestamp"] or time.time_ns()
        self._poses.add(message, received_ns)
        self._write_poses()

    def _write_poses(self) -> None:
        for stamp_ns, received_ns, pose in self._poses.take():
            self._writer.odometry(stamp_ns, received_ns, pose)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._status_name:
                values = {entry.key: entry.value for entry in status.values}
                self._writer.diagnostics({"summary": status.message, **values})

    def _on_info(self, message: CameraInfo) -> None:
        self._K = np.array(message.k, dtype=np.float64).reshape(3, 3)
        for stamp_ns in list(self._waiting):
            self._keep_depth(stamp_ns)

    def _on_depth(self, message: Image) -> None:
        self._wait(self._waiting, message)

    def _on_uncertainty(self, message: Image) -> None:
        self._wait(self._uncertainties, message)

    def _wait(self, waiting: dict[int, Image], message: Image) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        waiting[stamp_ns] = message
        self._keep_depth(stamp_ns)
        if len(waiting) > _MAX_WAITING:
            del waiting[next(iter(waiting))]

    def _keep_depth(self, stamp_ns: int) -> None:
        """Keep a depth map once it, its image and the calibration are here, in any order."""
        if self._K is None or stamp_ns not in self._kept_stamps:
            return
        if stamp_ns in self._waiting:
            depth = depth_of(self._waiting.pop(stamp_ns))
            self._writer.depth(stamp_ns, DepthRecord(depth=depth, K=self._K))
        if stamp_ns in self._uncertainties:
            uncertainty = depth_of(self._uncertainties.pop(stamp_ns))
            self._writer.uncertainty(stamp_ns, uncertainty)

    def destroy_node(self) -> None:
        """Print what was not recorded, and leave the middleware."""
        lacking = self._poses.lacking()
        if lacking:
            print(f"run_recorder: {lacking}", file=sys.stderr, flush=True)
        self._poses.close()
        super().destroy_node()


def depth_of(message: Image) -> DepthMap:
    """(h, w) float32 depth of a 32FC1 image.

    Raises:
        ImageError: another encoding.
    """
    if message.encoding != "32FC1":
        raise ImageError(f"a depth image has encoding '{message.encoding}', expected 32FC1")
    dtype = ">f4" if message.is_bigendian else "<f4"
    rows = np.frombuffer(message.data, dtype=dtype).reshape(message.height, message.step // 4)
    return rows[:, : message.width].astype(np.float32)


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM."""
    if args is None:
        secure_output()
    signal.signal(signal.SIGINT, lambda *_: None)  # rclpy's own handler ends the spinning
    parser = program_parser(__doc__, "run_recorder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the recording")
    parser.add_argument("--keep-every", type=int, default=10, help="keep every n-th image")
    parser.add_argument("--compressed", action="store_true", help="images are compressed")
    command_line = sys.argv if args is None else ["run_recorder", *args]
    options = parser.parse_args(remove_ros_args(command_line)[1:])
    try:
        with one_line_errors():
            rclpy.init(args=args)
        writer = RecordingWriter(options.out)
    except SfmRosError as error:
        print(f"run_recorder: {error}", file=sys.stderr)
        return 1
    recorder = RunRecorder(writer, max(options.keep_every, 1), options.compressed)
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
