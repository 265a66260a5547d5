"""A participant that floods the topics and services of a running node.

    python benchmarks/flooder.py KIND [--seconds 10] [--space /NAMESPACE] [--size 640x480]

KIND is one of: calibrations, transforms, static_transforms, frames, large_images, parameters,
subscribers. For `flood.py` and for a test; it never sends faster than the rates in the table here.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sfm_ros.ros.process.dds_profile import use_large_image_profile

Act = Callable[[int], None]
"""Does one thing, given its number."""

_FRAMES, _FRAMES_PER_MESSAGE = 10_000, 100
_SUBSCRIBERS = 200
_LARGE_PX = 5800
"""Side of an image of 101 MB."""
_PENDING = 20


class Flooder:
    """Everything it can do to a node.

    Args:
        node: of this participant.
        space: namespace of the node that it floods.
        size: (width, height) of the images of the honest camera.
    """

    def __init__(self, node: Node, space: str, size: tuple[int, int]) -> None:
        self._node, self._space, self._size = node, space, size

    def calibrations(self) -> Act:
        """Two calibrations in turn."""
        publisher = self._node.create_publisher(CameraInfo, f"{self._space}/camera_info", 10)
        infos = [self._info(focal) for focal in (0.6, 0.7)]
        return lambda index: publisher.publish(infos[index % 2])

    def _info(self, focal: float) -> CameraInfo:
        width, height = self._size
        k = [focal * width, 0.0, width / 2, 0.0, focal * width, height / 2, 0.0, 0.0, 1.0]
        return CameraInfo(width=width, height=height, k=k, distortion_model="plumb_bob")

    def transforms(self) -> Act:
        """Ten thousand frames that move."""
        return self._tf("tf", QoSProfile(depth=100))

    def static_transforms(self) -> Act:
        """Ten thousand static frames."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self._tf("tf_static", latched)

    def _tf(self, topic: str, qos: QoSProfile) -> Act:
        from tf2_msgs.msg import TFMessage

        publisher = self._node.create_publisher(TFMessage, f"{self._space}/{topic}", qos)
        messages = [TFMessage() for _ in range(_FRAMES // _FRAMES_PER_MESSAGE)]
        for index in range(_FRAMES):
            transform = TransformStamped(child_frame_id=f"flood_{index}")
            transform.header.frame_id = "base_link"
            messages[index // _FRAMES_PER_MESSAGE].transforms.append(transform)

        def act(index: int) -> None:
            message = messages[index % len(messages)]
            now = self._node.get_clock().now().to_msg()
            for transform in message.transforms:
                transform.header.stamp = now
            publisher.publish(message)

        return act

    def frames(self) -> Act:
        """Small images, each of another frame, with a name of 5 MB now and then."""
        publisher = self._node.create_publisher(Image, f"{self._space}/image", 1)
        message = Image(width=2, height=2, encoding="mono8", step=2, data=bytes(4))

        def act(index: int) -> None:
            message.header.frame_id = "\x1b[2J" * 1_000_000 if index % 50 == 0 else f"f{index}\n"
            publisher.publish(message)

        return act

    def large_images(self) -> Act:
        """Images of 101 MB."""
        publisher = self._node.create_publisher(Image, f"{self._space}/image", 1)
        step = 3 * _LARGE_PX
        message = Image(width=_LARGE_PX, height=_LARGE_PX, encoding="rgb8", step=step)
        message.data = np.zeros(step * _LARGE_PX, np.uint8).tobytes()
        content = serialize_message(message)
        return lambda _: publisher.publish(content)

    def parameters(self) -> Act:
        """Sets a live option, and one that is refused."""
        name = f"{self._space}/sfm_node/set_parameters"
        client = self._node.create_client(SetParameters, name)
        client.wait_for_service(10.0)
        pending: list[Any] = []

        def act(index: int) -> None:
            rclpy.spin_once(self._node, timeout_sec=0)
            pending[:] = [future for future in pending if not future.done()]
            if len(pending) < _PENDING:
                value = 70.0 + index % 2 if index % 3 else -1.0
                values = [Parameter("health.max_speed", value=value).to_parameter_msg()]
                pending.append(client.call_async(SetParameters.Request(parameters=values)))

        return act

    def subscribers(self) -> Act:
        """Two hundred subscriptions to the cloud."""
        topic = f"{self._space}/sfm_node/points"
        for _ in range(_SUBSCRIBERS):
            self._node.create_subscription(PointCloud2, topic, lambda _: None, 1, raw=True)
        return lambda _: rclpy.spin_once(self._node, timeout_sec=0.01)


RATES_HZ = {
    "calibrations": 100.0,
    "transforms": 1000.0,
    "static_transforms": 100.0,
    "frames": 100.0,
    "large_images": 2.0,
    "parameters": 500.0,
    "subscribers": 1000.0,
}
"""Acts per second of each kind at most."""


def main() -> int:
    """Flood."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=RATES_HZ)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--space", default="", help="namespace of the node")
    parser.add_argument("--size", default="640x480", help="of the honest camera's images")
    options = parser.parse_args()
    width, height = (int(number) for number in options.size.split("x"))
    use_large_image_profile()
    rclpy.init()
    node = rclpy.create_node(f"flooder_{options.kind}")
    act = getattr(Flooder(node, options.space, (width, height)), options.kind)()
    period_s = 1 / RATES_HZ[options.kind]
    print("flooding", flush=True)
    begin = time.monotonic()
    for index in itertools.count():
        time.sleep(max(begin + index * period_s - time.monotonic(), 0.0))
        if time.monotonic() > begin + options.seconds:
            break
        act(index)
    print(f"{index} times", flush=True)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
