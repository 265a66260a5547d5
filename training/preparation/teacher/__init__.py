"""Depth and poses for recordings without ground truth, by geometry alone."""
