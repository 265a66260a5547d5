"""KITTI's own folders: raw drives and odometry sequences."""
