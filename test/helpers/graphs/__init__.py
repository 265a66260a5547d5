"""Graphs that tests make."""
