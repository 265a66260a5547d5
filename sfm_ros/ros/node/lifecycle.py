"""The managed node: the same work, started and ended by transitions.

configure loads the model and creates the topics, activate subscribes, deactivate unsubscribes
and keeps the pose, cleanup releases everything, so that another model can be configured. With
``node.autostart`` it makes the first two transitions by itself.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import start_engine
from sfm_ros.errors import SfmRosError
from sfm_ros.ros.node.core import NodeCore
from sfm_ros.ros.node.interface import node_help
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.process.program import NODE_NAME, check_command_line, run

_DONE, _REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class SfmLifecycleNode(LifecycleNode):
    """`SfmNode` as a managed node (``ros2 lifecycle set``, a lifecycle manager).

    Args:
        make_engine: loads the networks at each configure.
        config, on_failure, node_name, arguments: as for `SfmNode`.

    Raises:
        ConfigError: a parameter is wrong.
    """

    def __init__(
        self,
        make_engine: Callable[[ModelConfig], Engine] = start_engine,
        config: SfmConfig | None = None,
        on_failure: Callable[[str], None] | None = None,
        node_name: str = NODE_NAME,
        **arguments: Any,
    ) -> None:
        super().__init__(node_name, **arguments)
        self.failure: str | None = None
        self._make_engine = make_engine
        self._on_failure = on_failure or (lambda _: self.context.try_shutdown())
        self._core: NodeCore | None = None
        try:
            _refuse_impossible_transitions(self)
            self._options = Parameters(self, config)
            if self._options.config.node.autostart and self.trigger_configure() == _DONE:
                self.trigger_activate()
        except BaseException:
            self.destroy_node()
            raise

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the topics."""
        self.failure = None
        try:
            engine = self._make_engine(self._options.config.model)
            self._core = NodeCore(self, self._options, engine, self._fail)
        except SfmRosError as error:
            self.get_logger().error(f"cannot be configured: {error}")
            return _REFUSED
        return _DONE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        try:
            self._configured().start()
        except SfmRosError as error:
            self.get_logger().error(f"cannot be activated: {error}")
            self._configured().stop()
            return _REFUSED
        return _DONE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the pose is kept."""
        self._configured().stop()
        return _DONE

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and all topics, as at shutdown."""
        self._close()
        return _DONE

    on_shutdown = on_cleanup
    on_error = on_cleanup  # a transition raised: be unconfigured again

    def destroy_node(self) -> None:
        """Release everything and leave the middleware."""
        self._close()
        super().destroy_node()

    def _configured(self) -> NodeCore:
        assert self._core is not None  # guaranteed by the state machine
        return self._core

    def _close(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core = None
            gc.collect()  # its parts refer to each other, and hold megabytes until they are found

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._on_failure(reason)


def _refuse_impossible_transitions(node: LifecycleNode) -> None:
    """Answer a transition that the current state does not have with a refusal.

    rclpy up to Jazzy ends the program instead (ros2/rclpy#1209).
    """
    (service,) = (each for each in node.services if each.srv_type is ChangeState)
    change_state = service.callback

    def answer(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except RuntimeError as error:  # what rclpy raises if rcl fails
            node.get_logger().error(f"transition {request.transition.id} is refused: {error}")
            response.success = False
            return response

    service.callback = answer


def main(
    args: list[str] | None = None, make_engine: Callable[[ModelConfig], Engine] = start_engine
) -> int:
    """Run the managed node, which waits to be configured; see `run`."""
    if args is None:
        check_command_line("sfm_lifecycle_node", __doc__, node_help())
    return run(lambda: SfmLifecycleNode(make_engine), args)


if __name__ == "__main__":
    sys.exit(main())
