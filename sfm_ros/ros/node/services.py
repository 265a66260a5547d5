"""The node's services: ~/reset, ~/set_paused, ~/save_trajectory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from sfm_ros.errors import TrajectoryError
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.trajectory_log import TrajectoryLog


class Services:
    """Offers the services.

    Args:
        node, parameters: the node and its options.
        trajectory: what ~/save_trajectory writes.
        on_reset: called to start again at the origin with the next image.
        on_pause: called with whether images are to be skipped.
        callback_group: of the services, except ~/save_trajectory: a slow file system must not
            delay the others.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        trajectory: TrajectoryLog,
        on_reset: Callable[[], None],
        on_pause: Callable[[bool], None],
        callback_group: Any,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._trajectory = trajectory
        self._reset = on_reset
        self._pause = on_pause
        self._services = [
            node.create_service(kind, name, callback, callback_group=group)
            for kind, name, callback, group in (
                (Trigger, "~/reset", self._on_reset, callback_group),
                (SetBool, "~/set_paused", self._on_set_paused, callback_group),
                (
                    Trigger,
                    "~/save_trajectory",
                    self._on_save_trajectory,
                    MutuallyExclusiveCallbackGroup(),
                ),
            )
        ]

    def close(self) -> None:
        """Destroy the services."""
        for service in self._services:
            self._node.destroy_service(service)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        response.success, response.message = True, "the next image is at the origin"
        return response

    def _on_set_paused(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._pause(request.data)
        response.success = True
        response.message = "paused: images are skipped" if request.data else "running"
        return response

    def _on_save_trajectory(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        name = self._parameters.config.node.trajectory_file
        try:
            response.message = self._parameters.trajectory_file.save(name, self._trajectory)
            response.success = True
        except (OSError, TrajectoryError) as error:
            response.success = False
            response.message = f"cannot write {name}: {error}; see node.trajectory_file"
        return response
