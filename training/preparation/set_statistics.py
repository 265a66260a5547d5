"""Statistics of a prepared set that a user should see before spending hours on training.

Images are compared on pairs of neighbors drawn at random (always the same ones), so that a set of
any size is measured in seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.data.sequence import MOVING, SKY_DEPTH_M, PreparedSet, SequenceRecord

PAIRS = 2000
"""Pairs of neighbors on which images are compared."""
FLOW_PAIRS = 200
"""Those of them on which optical flow is computed."""
DEPTH_FRAMES = 300
"""About so many frames, evenly spread, of which depth is looked at."""
STATIC_CHANGE = 2.0
"""Mean gray difference (of 255) of two frames below which the camera counts as static."""
DUPLICATE_CHANGE = 0.05
"""Mean gray difference below which two frames are one image, recorded twice."""
DARK, BRIGHT = 8, 247
"""Gray values up to and from which a pixel holds no texture."""
FLICKER = 8.0
"""Change of the mean gray value between neighbors that is due to exposure, not to motion."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """One calibration of a set.

    Attributes:
        K: fx, fy, cx, cy, pixels of the prepared size.
        width: of the prepared images, pixels.
        frames: number of frames that have it.
    """

    K: tuple[float, float, float, float]
    width: int
    frames: int

    @property
    def angle_deg(self) -> float:
        """Horizontal field of view."""
        return math.degrees(2 * math.atan(self.width / (2 * self.K[0])))


@dataclass(frozen=True, slots=True)
class DepthShares:
    """Mean fractions of the pixels of the frames with depth.

    Attributes:
        known: their depth is known; the sky is not counted.
        sky: labeled as the sky.
        moving: marked as moving by themselves.
        empty: fraction of the frames without any known depth.
    """

    known: float
    sky: float
    moving: float
    empty: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SetStatistics:
    """Statistics of a set; p pairs of neighbors, f of them with optical flow.

    Attributes:
        pairs: (p,) index of the first frame of each pair.
        change: (p,) mean absolute gray difference, of 255.
        level: (p,) mean gray value of the first frame.
        jump: (p,) change of the mean gray value.
        dark, bright: (p,) fraction of pixels of the first frame without texture.
        flow_px: (f,) median optical flow.
        interval_s: (m,) time between all neighbors.
        distance_m: (k,) meters between neighbors that have poses.
        short_frames: frames in sequences too short for a window of three.
        cuts: how often a source was split because time or camera jumped.
        calibrations: the most frequent one first.
        depth: of the frames with depth; None if there are none.
    """

    prepared: PreparedSet
    pairs: npt.NDArray[np.int64]
    change: Floats
    level: Floats
    jump: Floats
    dark: Floats
    bright: Floats
    flow_px: Floats
    interval_s: Floats
    distance_m: Floats
    short_frames: int
    cuts: int
    calibrations: tuple[Calibration, ...]
    depth: DepthShares | None = None

    @property
    def hours(self) -> float:
        """Time that the sequences cover."""
        return float(self.interval_s.sum() / 3600)

    @property
    def static_ratio(self) -> float:
        """Fraction of the pairs between which nothing moves."""
        return _ratio(self.change < STATIC_CHANGE)

    @property
    def duplicate_ratio(self) -> float:
        """Fraction of the pairs that are one image twice."""
        return _ratio(self.change < DUPLICATE_CHANGE)

    @property
    def flicker_ratio(self) -> float:
        """Fraction of the pairs between which the exposure jumps."""
        return _ratio(self.jump > FLICKER)

    def headline(self) -> str:
        """One line: path and size of the set, how much is static, how far the camera moves."""
        prepared = self.prepared
        motion = "no poses"
        if len(self.distance_m):
            motion = f"mean motion {self.distance_m.mean():.2f} m per frame"
        depth = sum(r.count for r in prepared.sequences if r.has_depth)
        return (
            f"{prepared.path}: {len(prepared.frames)} frames {prepared.width}x{prepared.height} "
            f"in {len(prepared.sequences)} sequences, {depth} with depth, "
            f"{self.static_ratio:.0%} static, {motion}"
        )


def measure(prepared: PreparedSet) -> SetStatistics:
    """The statistics of a set."""
    pairs = _draw_pairs(prepared)
    rows = [_compare(prepared, int(index)) for index in pairs]
    change, level, jump, dark, bright = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    flow_pairs = pairs[:: max(1, len(pairs) // FLOW_PAIRS)]
    records = prepared.sequences
    return SetStatistics(
        prepared=prepared,
        pairs=pairs,
        change=change,
        level=level,
        jump=jump,
        dark=dark,
        bright=bright,
        flow_px=np.array([_median_flow(prepared, int(index)) for index in flow_pairs]),
        interval_s=np.concatenate([np.diff(record.stamps_ns) / 1e9 for record in records]),
        distance_m=np.concatenate([_distances(record) for record in records]),
        short_frames=sum(record.count for record in records if record.count < 3),
        cuts=len(records) - len({record.source for record in records}),
        calibrations=_calibrations(prepared),
        depth=_depth_shares(prepared),
    )


def _depth_shares(prepared: PreparedSet) -> DepthShares | None:
    if prepared.depth_m is None:
        return None
    runs = [np.arange(r.start, r.start + r.count) for r in prepared.sequences if r.has_depth]
    frames = np.concatenate(runs)
    rows = []
    for index in frames[:: max(1, len(frames) // DEPTH_FRAMES)]:
        depth = prepared.depth_m[index]
        sky, moving = _ratio(depth >= SKY_DEPTH_M), _ratio(depth == MOVING)
        rows.append((_ratio(depth > 0) - sky, sky, moving))
    known, sky, moving = np.array(rows).T
    return DepthShares(
        float(known.mean()), float(sky.mean()), float(moving.mean()), _ratio(known == 0)
    )


def _draw_pairs(prepared: PreparedSet) -> npt.NDArray[np.int64]:
    starts = [np.arange(r.start, r.start + r.count - 1) for r in prepared.sequences]
    pairs = np.concatenate(starts)
    if len(pairs) <= PAIRS:
        return pairs
    # At random: every tenth pair could miss a defect that occurs every five frames.
    return np.sort(np.random.default_rng(0).choice(pairs, PAIRS, replace=False))


def _compare(prepared: PreparedSet, index: int) -> tuple[float, float, float, float, float]:
    """Change, level, jump, dark and bright of a pair."""
    first, second = (_gray(prepared, index + i).astype(np.float32) for i in (0, 1))
    level = float(first.mean())
    return (
        float(np.abs(second - first).mean()),
        level,
        abs(float(second.mean()) - level),
        _ratio(first <= DARK),
        _ratio(first >= BRIGHT),
    )


def _gray(prepared: PreparedSet, index: int) -> npt.NDArray[np.uint8]:
    """(H, W) gray values of a frame."""
    frame = np.ascontiguousarray(prepared.frames[index])
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _median_flow(prepared: PreparedSet, index: int) -> float:
    """Median length of the optical flow to the next frame, px (Kroeger et al. 2016)."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = method.calc(_gray(prepared, index), _gray(prepared, index + 1), None)  # type: ignore[call-overload]
    return float(np.median(np.linalg.norm(flow, axis=2)))


def _distances(record: SequenceRecord) -> Floats:
    if record.poses is None:
        return np.zeros(0)
    return np.linalg.norm(np.diff(record.poses[:, :3, 3], axis=0), axis=1)


def _calibrations(prepared: PreparedSet) -> tuple[Calibration, ...]:
    counts: Counter[tuple[float, float, float, float]] = Counter()
    for record in prepared.sequences:
        counts[record.K] += record.count
    return tuple(Calibration(K, prepared.width, n) for K, n in counts.most_common())


def _ratio(flags: npt.NDArray[np.bool_]) -> float:
    return float(flags.mean()) if flags.size else 0.0
