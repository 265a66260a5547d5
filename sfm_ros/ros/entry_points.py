"""The console scripts that need ROS.

They import the program only once signals are handled: the imports take a second, in which a signal
would otherwise end in a traceback.
"""

from __future__ import annotations

from typing import NoReturn

from sfm_ros.ros.process.signals import launch


def node() -> NoReturn:
    """The plain node; see :func:`sfm_ros.ros.node.node.main`."""
    launch("sfm_ros.ros.node.node")


def lifecycle_node() -> NoReturn:
    """The managed node; see :func:`sfm_ros.ros.node.lifecycle.main`."""
    launch("sfm_ros.ros.node.lifecycle")


def bag_player() -> NoReturn:
    """See :func:`sfm_ros.ros.tools.player.main`."""
    launch("sfm_ros.ros.tools.player")


def bag_recorder() -> NoReturn:
    """See :func:`sfm_ros.ros.tools.bag_recorder.main`."""
    launch("sfm_ros.ros.tools.bag_recorder")


def static_transform() -> NoReturn:
    """See :func:`sfm_ros.ros.tools.static_transform.main`."""
    launch("sfm_ros.ros.tools.static_transform")


def ground_truth_path() -> NoReturn:
    """See :func:`sfm_ros.ros.tools.ground_truth_path.main`."""
    launch("sfm_ros.ros.tools.ground_truth_path")
