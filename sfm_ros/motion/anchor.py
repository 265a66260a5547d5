"""The last frame up to which the motion has been integrated, while later ones add nothing yet.

A camera that stands is compared with the frame in which it came to rest, so that creeping does
not get lost below the limit of what moves between two frames; one whose scale is not known yet is
compared over a growing baseline, until the road is far enough displaced to be measured.
"""

from __future__ import annotations

from dataclasses import replace

from sfm_ros.motion.tracker import TrackedPair

_MOST_FRAMES = 20
"""Longer, and the noise of following keypoints from frame to frame adds up to a motion."""


class Anchor:
    """Keeps the older frame of a pair."""

    def __init__(self) -> None:
        self.release()

    def release(self) -> None:
        """The motion has been integrated, or is lost."""
        self._held: TrackedPair | None = None
        self._frames = 0

    def since(self, pair: TrackedPair) -> TrackedPair:
        """The pair from the anchored frame to the newest; the given one if none is held."""
        held = self._held
        if held is None:
            return pair
        new, old = pair.common(held.ids)
        road = None
        if pair.road is not None and held.road is not None:
            road = replace(pair.road, prev=held.road.prev)
        return replace(
            pair,
            ids=pair.ids[new],
            rays_prev=held.rays_prev[old],
            rays_curr=pair.rays_curr[new],
            dt_s=held.dt_s + pair.dt_s,
            road=road,
        )

    def hold(self, pair: TrackedPair) -> bool:
        """Keep the older frame of a pair from `since`; False if it has been held for long."""
        self._frames += 1
        if self._frames > _MOST_FRAMES:
            self.release()
            return False
        self._held = pair
        return True
