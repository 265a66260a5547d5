"""Reading and writing bags without ROS."""
