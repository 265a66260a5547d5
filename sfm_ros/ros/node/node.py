"""The plain node, which works from its start to its end, and the program around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from sfm_ros.config import SfmConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import start_engine
from sfm_ros.ros.node.core import NodeCore
from sfm_ros.ros.node.interface import node_help
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.process.program import NODE_NAME, check_command_line, run

_DESCRIPTION = "Depth and visual odometry of one calibrated camera, online."


class SfmNode(Node):
    """Subscribes to a camera, publishes depth and odometry.

    Its parameters are the options of ``sfm_ros.config``. Several of these nodes may share a
    process and an executor with other nodes, each in a namespace of its own:

        node = SfmNode(namespace="/front")
        executor.add_node(node)

    With ``node.image_queue`` every the executor needs two threads: the image callback waits.

    Args:
        engine: the networks; by default those that the parameters name.
        config: defaults of the parameters.
        on_failure: called once with the reason if the engine failed and the node cannot continue;
            by default the node's context is shut down, which ends ``spin``.
        node_name: name of the node.
        arguments: passed on to ``rclpy.node.Node``.

    Raises:
        SfmRosError: a parameter or the model is wrong; nothing was subscribed to.
    """

    def __init__(
        self,
        engine: Engine | None = None,
        config: SfmConfig | None = None,
        on_failure: Callable[[str], None] | None = None,
        node_name: str = NODE_NAME,
        **arguments: Any,
    ) -> None:
        super().__init__(node_name, **arguments)
        self.failure: str | None = None
        self._on_failure = on_failure or (lambda _: self.context.try_shutdown())
        self._core: NodeCore | None = None
        try:
            parameters = Parameters(self, config)
            engine = engine or start_engine(parameters.config.model)
            self._core = NodeCore(self, parameters, engine, self._fail)
            self._core.start()
        except BaseException:
            self.destroy_node()
            raise

    def destroy_node(self) -> None:
        """End the worker, release the engine and leave the middleware."""
        if self._core is not None:
            self._core.close()
            self._core = None
        super().destroy_node()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._on_failure(reason)


def main(args: list[str] | None = None, engine: Engine | None = None) -> int:
    """Run the node, by default with the engine that the parameters name; see `run`."""
    if args is None:
        check_command_line(NODE_NAME, _DESCRIPTION, node_help())
    return run(lambda: SfmNode(engine), args)


if __name__ == "__main__":
    sys.exit(main())
