"""Encoders of the depth networks."""
