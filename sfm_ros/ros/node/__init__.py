"""The node: images in, depth and odometry out."""
