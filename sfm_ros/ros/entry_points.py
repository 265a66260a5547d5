"""The console scripts that need ROS: light, so that a signal is obeyed from the first moment.

The imports take a second, in which a signal would end in a traceback.
"""

from __future__ import annotations

from sfm_ros.ros.process.signals import launch


def node() -> int:
    """The plain node; see :func:`sfm_ros.ros.node.node.main`."""
    return launch("sfm_ros.ros.node.node")


def lifecycle_node() -> int:
    """The managed node; see :func:`sfm_ros.ros.node.lifecycle.main`."""
    return launch("sfm_ros.ros.node.lifecycle")


def bag_player() -> int:
    """See :func:`sfm_ros.ros.tools.player.main`."""
    return launch("sfm_ros.ros.tools.player")


def bag_recorder() -> int:
    """See :func:`sfm_ros.ros.tools.bag_recorder.main`."""
    return launch("sfm_ros.ros.tools.bag_recorder")


def static_transform() -> int:
    """See :func:`sfm_ros.ros.tools.static_transform.main`."""
    return launch("sfm_ros.ros.tools.static_transform")


def ground_truth_path() -> int:
    """See :func:`sfm_ros.ros.tools.ground_truth_path.main`."""
    return launch("sfm_ros.ros.tools.ground_truth_path")
