"""Arguments and programs of the launch files."""
