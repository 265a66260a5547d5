"""Files and messages that others defined: calibrations, images, trajectories."""
