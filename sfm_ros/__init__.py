"""Depth and visual odometry from one ordinary camera, online, in ROS 2."""

__version__ = "0.2.0"
