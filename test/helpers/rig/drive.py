"""A node in the test's process that sees a rendered street, one image after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from streets import shared_street

from rig.camera import FRAME
from rig.probe import Probe, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import MultiThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.config import config_from_dict
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.model_spec import ModelSpec
from sfm_ros.ros.conversions import stamp_from_ns, stamp_to_ns
from sfm_ros.ros.node.node import SfmNode

FILLING = ModelSpec.load(resolve_bundle("default")).sequence_length - 1
"""Images that fill the window and get no odometry."""
PERIOD_NS = 100_000_000
CONFIG = config_from_dict(
    {
        "odometry": {"mode": "network"},
        "node": {"image_queue": "every", "extrinsics_wait_s": 0.0},
    }
)


class Drive:
    """A node that sees a rendered street, one image after the other."""

    def __init__(
        self, probe: Probe, executor: MultiThreadedExecutor, space: str, engine: Engine
    ) -> None:
        self._probe, self._space, self.engine = probe, space, engine
        self.failures: list[str] = []
        node = SfmNode(
            engine,
            CONFIG,
            on_failure=self.failures.append,
            namespace=space,
            context=executor.context,
        )
        executor.add_node(node)
        self.odometry = self._listen(node, "~/odometry", Odometry)
        self.depth = self._listen(node, "~/depth/image", Image)
        self.status = self._listen(node, "~/status", DiagnosticStatus)
        self.diagnostics = self._listen(node, "/diagnostics", DiagnosticArray)
        self._street = shared_street()

    def _listen(self, node: SfmNode, name: str, kind: type) -> list:
        received = self._probe.listen(node.resolve_topic_name(name), kind)
        end = name.removeprefix("~")
        (publisher,) = (p for p in node.publishers if p.topic_name.endswith(end))
        wait_until(publisher.get_subscription_count, f"the subscription to {name}")
        return received

    def show(self, frames: Sequence[int]) -> None:
        """Publish frames and wait for the odometry of the last."""
        for index in frames:
            frame = self._street.render(index).frame
            self._probe.publish(f"/{self._space}/camera_info", calibration(frame.intrinsics))
            self._probe.publish(f"/{self._space}/image", message(frame.rgb, index))
        last = stamp(frames[-1])
        wait_until(
            lambda: any(stamp_to_ns(m.header.stamp) == last for m in list(self.odometry)),
            f"odometry of frame {frames[-1]}; failures: {self.failures}",
        )

    def values(self) -> dict[str, str]:
        """The newest status."""
        return {entry.key: entry.value for entry in self.status[-1].values}

    def poses(self) -> np.ndarray:
        """(n, 7) position and quaternion of every odometry message."""
        rows = [
            (*xyz(m.pose.pose.position), *xyz(m.pose.pose.orientation), m.pose.pose.orientation.w)
            for m in self.odometry
        ]
        return np.array(rows)


def xyz(value: object) -> tuple[float, float, float]:
    return value.x, value.y, value.z  # type: ignore[attr-defined]


def stamp(index: int) -> int:
    return 10**12 + index * PERIOD_NS


def message(rgb: np.ndarray, index: int) -> Image:
    height, width, _ = rgb.shape
    made = Image(width=width, height=height, encoding="rgb8", step=3 * width)
    made.header.stamp, made.header.frame_id = stamp_from_ns(stamp(index)), FRAME
    made.data = rgb.tobytes()
    return made


def calibration(camera: CameraIntrinsics) -> CameraInfo:
    K = [float(value) for value in np.ravel(camera.K)]
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=K,
        r=np.eye(3).ravel().tolist(),
        p=np.insert(np.reshape(K, (3, 3)), 3, 0.0, axis=1).ravel().tolist(),
    )
