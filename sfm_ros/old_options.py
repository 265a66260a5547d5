"""Options of version 0.1 that have another name now or are gone: an old file is refused."""

from __future__ import annotations

RENAMED = {
    "refine.enabled": "odometry.mode",
    "refine.max_corners": "tracker.max_tracks",
    "refine.max_features": "tracker.max_tracks",
    "refine.min_inliers": "tracker.min_inliers",
    "noise.unseen_m": "noise.gap_distance_m",
    "node.mounting_wait_s": "node.extrinsics_wait_s",
    "node.delivery": "node.image_queue",
}
"""Old names and the ones they have now."""

REMOVED = (
    "refine",
    "refine.sigma_px",
    "refine.sigma_depth",
    "refine.prior_share",
    "refine.prior_sigma_ratio",
    "refine.velocity_share",
    "refine.velocity_sigma_ratio",
    "refine.max_correction_deg",
)
"""Without successor, and their block."""

HINTS = {old: f"is now called '{new}'" for old, new in RENAMED.items()} | dict.fromkeys(
    REMOVED, "was removed: 'odometry.mode' chooses the motion, the block 'tracker' its keypoints"
)
"""What became of each, as the end of a message that begins with its name."""
