"""What concerns the whole process: signals, DDS profile, tuning."""
