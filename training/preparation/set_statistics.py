"""What a person should know about a prepared set before spending hours of training on it.

Everything is measured on pairs of neighbors drawn at random (always the same ones), so that a set
of any size is examined in seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.data.sequence import PreparedSet, SequenceRecord

PAIRS = 2000
"""Pairs of neighbors on which images are compared."""
FLOW_PAIRS = 200
"""Those of them on which optical flow is worked out."""
STATIC_CHANGE = 2.0
"""Mean gray difference (of 255) of two frames below which the camera is said to stand still."""
DUPLICATE_CHANGE = 0.05
"""The same below which they are one image, recorded twice."""
DARK, BRIGHT = 8, 247
"""Gray values up to and from which a pixel holds no texture."""
FLICKER = 8.0
"""Change of the mean gray value between neighbors that is no motion but the exposure."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Camera:
    """One calibration of the set: fx, fy, cx, cy in px of the prepared size, and its frames."""

    K: tuple[float, float, float, float]
    frames: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examination:
    """Figures of a set.

    Attributes:
        places: (p,) first frame of each pair; the arrays below belong to them.
        change: mean absolute gray difference, of 255.
        level: mean gray value of the first frame.
        jump: change of the mean gray value.
        dark, bright: shares of its pixels without texture.
        flow_places, flow_px: some of the places, and the median optical flow there.
        interval_s: (m,) time between all neighbors.
        distance_m: (k,) meters between neighbors that have poses.
        short_frames: frames in sequences too short for a window of three.
        cuts: places at which a source was cut because time or camera jumped.
    """

    prepared: PreparedSet
    places: npt.NDArray[np.int64]
    change: Floats
    level: Floats
    jump: Floats
    dark: Floats
    bright: Floats
    flow_places: npt.NDArray[np.int64]
    flow_px: Floats
    interval_s: Floats
    distance_m: Floats
    short_frames: int
    cuts: int
    cameras: tuple[Camera, ...]

    @property
    def hours(self) -> float:
        """Time the sequences cover."""
        return float(self.interval_s.sum() / 3600)

    @property
    def static_share(self) -> float:
        """Share of the pairs between which nothing moves."""
        return _share(self.change < STATIC_CHANGE)

    @property
    def duplicate_share(self) -> float:
        """Share of the pairs that are one image twice."""
        return _share(self.change < DUPLICATE_CHANGE)

    @property
    def flicker_share(self) -> float:
        """Share of the pairs between which the exposure jumps."""
        return _share(self.jump > FLICKER)

    def headline(self) -> str:
        """One line: where the set lies, its size, how much stands still, how far it moves."""
        prepared = self.prepared
        motion = (
            f"mean motion {self.distance_m.mean():.2f} m a frame"
            if len(self.distance_m)
            else "no poses"
        )
        depth = sum(r.count for r in prepared.sequences if r.has_depth)
        return (
            f"{prepared.path}: {len(prepared.frames)} frames {prepared.width}x{prepared.height} "
            f"in {len(prepared.sequences)} sequences, {depth} with depth, "
            f"{self.static_share:.0%} static, {motion}"
        )


def examine(prepared: PreparedSet) -> Examination:
    """Measure a set."""
    places = _places(prepared)
    figures = [_pair_figures(prepared, int(place)) for place in places]
    columns = np.array(figures, dtype=np.float64).reshape(len(places), 5).T
    every = max(1, len(places) // FLOW_PAIRS)
    flow_places = places[::every]
    records = prepared.sequences
    return Examination(
        prepared=prepared,
        places=places,
        change=columns[0],
        level=columns[1],
        jump=columns[2],
        dark=columns[3],
        bright=columns[4],
        flow_places=flow_places,
        flow_px=np.array([_median_flow(prepared, int(place)) for place in flow_places]),
        interval_s=_joined([np.diff(record.stamps_ns) / 1e9 for record in records]),
        distance_m=_joined([_ways(record) for record in records]),
        short_frames=sum(record.count for record in records if record.count < 3),
        cuts=len(records) - len({record.source for record in records}),
        cameras=_cameras(prepared),
    )


def gray(prepared: PreparedSet, index: int) -> npt.NDArray[np.uint8]:
    """(H, W) gray values of a frame."""
    frame = np.ascontiguousarray(prepared.frames[index])
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _places(prepared: PreparedSet) -> npt.NDArray[np.int64]:
    starts = [np.arange(r.start, r.start + r.count - 1) for r in prepared.sequences]
    pairs = np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64)
    if len(pairs) <= PAIRS:
        return pairs
    # At random: every tenth pair could miss a defect that comes every five frames.
    return np.sort(np.random.default_rng(0).choice(pairs, PAIRS, replace=False))


def _pair_figures(prepared: PreparedSet, place: int) -> tuple[float, float, float, float, float]:
    first, second = (gray(prepared, place + i).astype(np.float32) for i in (0, 1))
    level = float(first.mean())
    return (
        float(np.abs(second - first).mean()),
        level,
        abs(float(second.mean()) - level),
        float((first <= DARK).mean()),
        float((first >= BRIGHT).mean()),
    )


def _median_flow(prepared: PreparedSet, place: int) -> float:
    """Median length of the optical flow to the next frame, px (Kroeger et al. 2016)."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = method.calc(gray(prepared, place), gray(prepared, place + 1), None)  # type: ignore[call-overload]
    return float(np.median(np.linalg.norm(flow, axis=2)))


def _ways(record: SequenceRecord) -> Floats:
    if record.poses is None:
        return np.zeros(0)
    return np.linalg.norm(np.diff(record.poses[:, :3, 3], axis=0), axis=1)


def _cameras(prepared: PreparedSet) -> tuple[Camera, ...]:
    counts: Counter[tuple[float, float, float, float]] = Counter()
    for record in prepared.sequences:
        counts[record.K] += record.count
    return tuple(Camera(K=K, frames=frames) for K, frames in counts.most_common())


def _joined(parts: list[npt.NDArray]) -> Floats:
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def _share(flags: npt.NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0
