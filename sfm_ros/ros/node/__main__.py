"""``python -m sfm_ros.ros.node``: the node without an installation."""

from sfm_ros.ros.process.signals import launch

launch("sfm_ros.ros.node.node")
