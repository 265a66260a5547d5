"""Depth metrics and protocols."""
