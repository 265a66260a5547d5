"""Inference engines: each file alone imports its own library."""
