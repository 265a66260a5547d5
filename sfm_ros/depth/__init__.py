"""Depth of the run time: measured from several views, fused over time with the network's."""
