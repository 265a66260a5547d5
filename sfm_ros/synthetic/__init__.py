"""Rendered streets with exact ground truth."""
