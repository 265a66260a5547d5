"""The ROS node that works from its start to its end, and the program around it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from sfm_ros.config import SfmConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import create_engine
from sfm_ros.ros.node.core import NodeCore
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.process.program import NODE_NAME, run


class SfmNode(Node):
    """Subscribes to a camera, publishes depth and odometry.

    Parameters are the options of ``sfm_ros.config``. Several of them may live in one process and
    share an executor with other nodes, each in a namespace of its own:

        node = SfmNode(namespace="/front")
        executor.add_node(node)

    An executor needs two threads with ``node.image_queue`` every, for its image callback waits.

    Args:
        engine: the networks; by default those the parameters name.
        config: defaults of the parameters.
        on_failure: called once with the reason where the engine failed and the node is dead;
            by default the node's context is shut down, which ends ``spin``.
        node_name: name of the node.
        arguments: passed on to ``rclpy.node.Node``.

    Raises:
        SfmRosError: a parameter or the model is wrong; nothing has been subscribed to.
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
        self._tell_failure = on_failure
        self._core: NodeCore | None = None
        try:
            parameters = Parameters(self, config)
            engine = engine or create_engine(parameters.config.model)
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
        if self._tell_failure is not None:
            self._tell_failure(reason)
        else:
            self.context.try_shutdown()


def main(args: list[str] | None = None, engine: Engine | None = None) -> int:
    """Run the node until it is told to stop.

    Args:
        args: command line; by default the process's own.
        engine: the networks; by default those the parameters name.

    Returns:
        0 after SIGINT or SIGTERM, 1 where it refused to start or its engine failed.
    """
    return run(lambda: SfmNode(engine), args)


if __name__ == "__main__":
    sys.exit(main())
