"""The console scripts that need ROS.

They import the program only once signals are handled: the imports take a second, in which a signal
would otherwise end in a traceback.
"""

from __future__ import annotations

from functools import partial

from sfm_ros.ros.process.signals import launch

node = partial(launch, "sfm_ros.ros.node.node")
lifecycle_node = partial(launch, "sfm_ros.ros.node.lifecycle")
bag_player = partial(launch, "sfm_ros.ros.tools.player")
bag_recorder = partial(launch, "sfm_ros.ros.tools.bag_recorder")
static_transform = partial(launch, "sfm_ros.ros.tools.static_transform")
ground_truth_path = partial(launch, "sfm_ros.ros.tools.ground_truth_path")
