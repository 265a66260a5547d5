"""Depth from several views: measured along the motion, with a standard deviation per pixel."""
