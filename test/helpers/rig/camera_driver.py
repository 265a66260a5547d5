"""A camera for tests: drives a node with images and collects its answers."""

from __future__ import annotations

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
    """Drives the node with images and collects the answers."""

    def __init__(self, probe: Probe, program: Program) -> None:
        self.probe, self.program = probe, program
        self.now_ns = 1_000_000_000_000
        self.odometry = probe.listen("/sfm_node/odometry", Odometry)
        self.depth = probe.listen("/sfm_node/depth/image", Image)
        self.depth_info = probe.listen("/sfm_node/depth/camera_info", CameraInfo)
        self.diagnostics = probe.listen("/diagnostics", DiagnosticArray)

    def show(self, *levels: int) -> int:
        """Publish images 0.1 s apart; the stamp of the last."""
        for level in levels:
            self.now_ns += PERIOD_NS
            self.probe.publish("/image", image_message(level, self.now_ns))
        return self.now_ns

    def calibrate(self, info: CameraInfo | None = None) -> None:
        self.probe.publish("/camera_info", info or info_message())

    def wait_for_change(self, said: int) -> None:
        """Show standing images until the node tells that it uses another calibration."""

        def told() -> bool:
            self.show(STAND)
            return "calibration_changed" in self.program.said[said:]

        wait_until(told, "the new calibration")

    def answer(self, messages: list, stamp_ns: int) -> Any:
        """The message of this stamp, once it is there."""

        def found() -> object:
            return next((m for m in messages if stamp_to_ns(m.header.stamp) == stamp_ns), None)

        return wait_until(found, f"an answer for {stamp_ns}; the node said:\n{self.program.said}")

    def drive(self, *levels: int) -> Odometry:
        """The odometry of the last of these images."""
        return self.answer(self.odometry, self.show(*levels))

    def restart(self) -> None:
        """The next image stands at the origin."""
        self.call(Trigger, "/sfm_node/reset")
        self.now_ns += 10 * PERIOD_NS

    def values(self) -> dict[str, str]:
        """Key and value of the newest diagnostics."""
        count = len(self.diagnostics)
        wait_until(lambda: len(self.diagnostics) > count, "diagnostics")
        return {v.key: v.value for v in self.diagnostics[-1].status[0].values}

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """The answer of one of the node's services."""
        client = self.probe.node.create_client(kind, name)
        assert client.wait_for_service(20)
        future = client.call_async(request or kind.Request())
        wait_until(future.done, f"an answer of {name}")
        self.probe.node.destroy_client(client)
        return future.result()

    def set_parameter(self, name: str, value: Any) -> SetParametersResult:
        """What the node says to a new value of a parameter."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, "/sfm_node/set_parameters", request).results[0]
