"""The rim: the only folder that imports rclpy and message packages."""
