"""File and message formats that others defined: calibrations, images, trajectories."""
