"""Checks of what surrounds the node, over plain values that a system or a bag has filled in."""
