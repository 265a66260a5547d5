"""Checks of the node's surroundings, over plain values read from a running system or a bag."""
