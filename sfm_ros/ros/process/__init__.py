"""What applies to the whole process: signals, the DDS profile, tuning."""
