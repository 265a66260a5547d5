"""The commands that need no ROS installation; those of a run through the node start it."""
