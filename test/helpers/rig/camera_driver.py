"""A camera for tests: shows images to a node and collects what it publishes."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import STAND
from rig.probe import Probe, Program, wait_until
from sfm_ros.ros.conversions import stamp_to_ns


class Camera:
    """Shows images to the node and collects its messages."""

    def __init__(self, probe: Probe, program: Program) -> None:
        self.probe, self.program = probe, program
        self.now_ns = 1_000_000_000_000
        self.odometry = probe.listen("/sfm_node/odometry", Odometry)
        self.depth = probe.listen("/sfm_node/depth/image", Image)
        self.depth_info = probe.listen("/sfm_node/depth/camera_info", CameraInfo)
        self.diagnostics = probe.listen("/diagnostics", DiagnosticArray)

    def connect(self) -> None:
        """Show standing images until the node and the subscriptions here are connected."""

        def is_connected() -> bool:
            self.calibrate()  # again, for a live node subscribes to it with best effort
            self.show(STAND)
            time.sleep(0.05)
            return bool(self.odometry and self.depth and self.depth_info and self.diagnostics)

        self.program.wait_until(is_connected, "messages of the node")

    def show(self, *levels: int) -> int:
        """Publish images 0.1 s apart; the stamp of the last."""
        for level in levels:
            self.now_ns += PERIOD_NS
            self.probe.publish("/image", image_message(level, self.now_ns))
        return self.now_ns

    def calibrate(self, info: CameraInfo | None = None) -> None:
        """Publish a calibration."""
        self.probe.publish("/camera_info", info or info_message())

    def wait_for_calibration_change(self, since: int) -> None:
        """Show standing images until the node logs that it uses another calibration.

        Args:
            since: characters of the node's output that are not searched.
        """

        def is_logged() -> bool:
            self.show(STAND)
            return "calibration_changed" in self.program.output[since:]

        self.program.wait_until(is_logged, "the new calibration")

    def message_of(self, messages: list, stamp_ns: int) -> Any:
        """The message of this stamp, once it has arrived."""

        def found() -> object:
            return next((m for m in messages if stamp_to_ns(m.header.stamp) == stamp_ns), None)

        return self.program.wait_until(found, f"the message of {stamp_ns}")

    def drive(self, *levels: int) -> Odometry:
        """The odometry of the last of these images."""
        return self.message_of(self.odometry, self.show(*levels))

    def restart(self) -> None:
        """Reset the odometry: the next image is at the origin."""
        self.call(Trigger, "/sfm_node/reset")
        self.now_ns += 10 * PERIOD_NS

    def values(self) -> dict[str, str]:
        """Key and value of the next diagnostics."""
        count = len(self.diagnostics)
        wait_until(lambda: len(self.diagnostics) > count, "diagnostics")
        return {v.key: v.value for v in self.diagnostics[-1].status[0].values}

    def wait_for_value(self, key: str, value: str) -> dict[str, str]:
        """Key and value of the first diagnostics in which a key has this value."""

        def found() -> dict[str, str] | None:
            values = self.values()
            return values if values[key] == value else None

        return self.program.wait_until(found, f"'{value}' as {key}")

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """The response of one of the node's services."""
        return self.probe.call(kind, name, request)

    def set_parameter(self, name: str, value: Any, node: str = "/sfm_node") -> SetParametersResult:
        """The result of setting a parameter of a node."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]
