"""Bags of ROS 1 and ROS 2, read and written without any ROS installation."""
