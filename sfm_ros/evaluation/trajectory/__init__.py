"""Trajectory metrics: ATE, RPE, t_err, r_err."""
