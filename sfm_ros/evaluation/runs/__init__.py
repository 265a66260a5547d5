"""Running the odometry over a recording, offline or through the node."""
