"""Keypoints followed through the images of the camera, at its own resolution.

Corners are detected on a grid (Shi and Tomasi, CVPR 1994), followed by pyramidal Lucas-Kanade
optical flow (Bouguet 2001), checked by following them back, and undistorted once. Cells that have
lost their keypoints are refilled at every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.config import TrackerConfig
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame
from sfm_ros.errors import ImageError
from sfm_ros.motion.road_image import RoadImage, RoadImages, road_image, top_of
from sfm_ros.preprocess import (
    PixelMaps,
    calibration_key,
    needs_undistortion,
    normalized_points,
    rectified_camera,
    undistort_map,
)

_CELL_ROWS, _CELL_COLUMNS = 8, 24
_WINDOW = (13, 13)
_LEVELS = 4
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.03)
_MAX_BACKWARD_PX = 0.5
_MIN_DISTANCE_PX = 6
_BORDER = 3
_ENLARGE_BELOW = 700
"""Narrower images are enlarged twice: the window and the sub-pixel steps of the flow fit again."""
_MIN_LIGHT_CHANGE = 6.0
"""Gray levels; less makes no difference to the flow."""
_WIDEST = 5.0
"""Tangent of the largest angle of a ray; rays close to 90 degrees magnify every error."""
_SATURATED = 250
"""Gray level."""

Ids = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.float32]
Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrackedPair:
    """Keypoints that are seen in two neighboring frames, and what the images are like.

    Attributes:
        ids: (N,) numbers of the tracks.
        rays_prev, rays_curr: (N, 3) points at depth 1 in the rectified camera of each frame.
        focal_px: pixels of the tracked image per unit of a ray.
        dt_s: time between the frames.
        brightness: mean of the newer image, gray levels.
        overexposed: fraction of its pixels that are saturated.
        sharpness: mean absolute second derivative of it, gray levels.
        road: images of the road in both frames.
    """

    ids: Ids
    rays_prev: FloatArray
    rays_curr: FloatArray
    focal_px: float
    dt_s: float
    brightness: float
    overexposed: float
    sharpness: float
    road: RoadImages | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def common(self, ids: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Where the tracks with these numbers are in the pair, and where in ``ids``."""
        _, here, there = np.intersect1d(self.ids, ids, assume_unique=True, return_indices=True)
        return here, there


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _View:
    """A frame as the tracker keeps it."""

    stamp_ns: int
    gray: Gray
    enlarged: float
    sharpness: float
    camera: CameraIntrinsics
    road: RoadImage


class Tracker:
    """Follows keypoints from frame to frame.

    Args:
        config: how many, and the largest image.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._next_id = 0
        self._maps: tuple[tuple, PixelMaps] | None = None
        self.restart()

    def configure(self, config: TrackerConfig) -> None:
        """Apply other options from the next frame on."""
        self._config = config

    def restart(self) -> None:
        """Forget the tracks."""
        self._last: _View | None = None
        self._pixels = np.zeros((0, 2), np.float32)
        self._rays = np.zeros((0, 3))
        self._ids = np.zeros(0, np.int64)

    def track(self, frame: Frame) -> TrackedPair | None:
        """The tracks from the last frame to this one; None for the first frame of a segment.

        Raises:
            ImageError: OpenCV cannot process the image.
        """
        try:
            return self._track(frame)
        except cv2.error as error:
            self.restart()
            reason = " ".join(str(error).split())
            raise ImageError(f"keypoints cannot be followed in the image: {reason}") from error

    def _track(self, frame: Frame) -> TrackedPair | None:
        view = self._view(frame)
        pair = None
        if self._last is not None:
            if view.gray.shape == self._last.gray.shape:
                pair = self._follow(self._last, view, frame)
            else:
                self.restart()
        self._refill(view, frame)
        self._last = view
        return pair

    def _view(self, frame: Frame) -> _View:
        gray = _gray(frame.rgb)
        factor = _size_factor(gray.shape, self._config.max_width)
        if factor != 1.0:
            kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            gray = np.asarray(cv2.resize(gray, None, fx=factor, fy=factor, interpolation=kind))
        height, width = gray.shape
        camera = rectified_camera(frame.intrinsics).resized(width, height)
        rectified: Any = gray
        if needs_undistortion(frame.intrinsics):
            rectified = cv2.remap(gray, *self._rectification(frame, camera), cv2.INTER_LINEAR)
        return _View(
            stamp_ns=frame.stamp_ns,
            gray=gray,
            camera=camera,
            road=road_image(np.asarray(rectified, dtype=np.uint8), top_of(camera)),
            enlarged=gray.shape[1] / frame.rgb.shape[1],
            sharpness=_sharpness(gray),
        )

    def _follow(self, last: _View, view: _View, frame: Frame) -> TrackedPair:
        if len(self._ids):
            found, kept = _flow(_with_light_of(last.gray, view.gray), view.gray, self._pixels)
            kept &= _inside(found, view.gray.shape)
            rays_prev = self._rays[kept]
            self._pixels, self._ids = found[kept], self._ids[kept]
            self._rays = self._rays_of(self._pixels, frame, view.enlarged)
        else:
            rays_prev = self._rays
        usable = np.isfinite(rays_prev).all(axis=1) & np.isfinite(self._rays).all(axis=1)
        return TrackedPair(
            ids=self._ids[usable],
            rays_prev=rays_prev[usable],
            rays_curr=self._rays[usable],
            focal_px=view.camera.fx,
            dt_s=(view.stamp_ns - last.stamp_ns) * 1e-9,
            brightness=float(view.gray[::8, ::8].mean()),
            overexposed=float(np.mean(view.gray[::8, ::8] >= _SATURATED)),
            sharpness=view.sharpness,
            road=RoadImages(
                prev=last.road, curr=view.road, camera=view.camera, top=top_of(view.camera)
            ),
        )

    def _refill(self, view: _View, frame: Frame) -> None:
        """Detect keypoints in the cells that have too few."""
        new = _detect(view.gray, self._pixels, self._config.max_tracks)
        if len(new) == 0:
            return
        self._pixels = np.concatenate([self._pixels, new])
        self._rays = np.concatenate([self._rays, self._rays_of(new, frame, view.enlarged)])
        ids = np.arange(self._next_id, self._next_id + len(new))
        self._next_id += len(new)
        self._ids = np.concatenate([self._ids, ids])

    def _rectification(self, frame: Frame, camera: CameraIntrinsics) -> PixelMaps:
        """Where the pixels of the rectified tracked image are in the tracked image."""
        size = camera.width, camera.height
        key = (*size, calibration_key(frame.intrinsics))
        if self._maps is None or self._maps[0] != key:
            maps = undistort_map(frame.intrinsics.resized(*size), camera)
            self._maps = key, cv2.convertMaps(*maps, cv2.CV_16SC2)
        return self._maps[1]

    def _rays_of(self, pixels: Pixels, frame: Frame, enlarged: float) -> FloatArray:
        """(N, 3) rays of pixels of the tracked image, in the rectified camera."""
        raw = (pixels.astype(np.float64) + 0.5) / enlarged - 0.5
        xy = normalized_points(frame.intrinsics, raw)
        xy[~(np.abs(xy) < _WIDEST).all(axis=1)] = np.nan  # outside of what the model describes
        return np.column_stack([xy, np.ones(len(xy))])


def _gray(rgb: npt.NDArray[np.uint8]) -> Gray:
    if rgb.strides[2] < 0:  # a view of a BGR image, which OpenCV would copy
        return np.asarray(cv2.cvtColor(rgb[:, :, ::-1], cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _size_factor(shape: tuple[int, ...], max_width: int) -> float:
    height, width = shape
    if width > max_width or height > 2 * max_width:
        return min(max_width / width, 2 * max_width / height)
    return 2.0 if max(height, width) < _ENLARGE_BELOW else 1.0


def _with_light_of(gray: Gray, other: Gray) -> Gray:
    """An image with the mean and the contrast of another: the flow takes both to be constant."""
    small, goal = gray[::8, ::8], other[::8, ::8]
    gain = float(goal.std()) / max(float(small.std()), 1.0)
    offset = float(goal.mean()) - gain * float(small.mean())
    if abs(offset) < _MIN_LIGHT_CHANGE and abs(gain - 1) * 128 < _MIN_LIGHT_CHANGE:
        return gray
    return np.asarray(cv2.addWeighted(gray, gain, gray, 0.0, offset), dtype=np.uint8)


def _sharpness(gray: Gray) -> float:
    """Mean absolute second derivative, which blur takes first; every fourth row will do."""
    return float(cv2.mean(cv2.convertScaleAbs(cv2.Laplacian(gray[::4], cv2.CV_16S)))[0])


def _flow(prev: Gray, curr: Gray, pixels: Pixels) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Where the pixels went, and whether following them back returns to where they were."""
    follow: Any = partial(
        cv2.calcOpticalFlowPyrLK, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_CRITERIA
    )
    found, status, _ = follow(prev, curr, pixels, None)
    back, status_back, _ = follow(
        curr, prev, found, pixels.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    returns = np.linalg.norm(back - pixels, axis=1) < _MAX_BACKWARD_PX
    return found, (status.ravel() > 0) & (status_back.ravel() > 0) & returns


def _inside(pixels: Pixels, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    size = np.array([shape[1], shape[0]])
    return np.all((pixels >= _BORDER) & (pixels <= size - 1 - _BORDER), axis=1)


def _detect(gray: Gray, pixels: Pixels, max_tracks: int) -> Pixels:
    """(M, 2) new corners, the strongest of each cell that has room, away from known ones."""
    height, width = gray.shape
    # Half the size shows where corners are as well, in a quarter of the time.
    half = cv2.resize(gray, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    mask = np.full(half.shape, 255, np.uint8)
    for x, y in (pixels / 2).astype(int).tolist():
        cv2.circle(mask, (x, y), _MIN_DISTANCE_PX // 2, 0, -1)
    corners = cv2.goodFeaturesToTrack(half, 4 * max_tracks, 2e-4, 3, mask=mask, blockSize=3)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    corners = 2 * np.asarray(corners, np.float32).reshape(-1, 2) + np.float32(0.5)
    corners = corners[_inside(corners, gray.shape)]
    count = _CELL_ROWS * _CELL_COLUMNS
    occupied = np.bincount(_cells(pixels, width, height), minlength=count)
    room = max(1, round(max_tracks / count)) - occupied
    cells = _cells(corners, width, height)
    # Corners come strongest first: the rank of each within its cell decides.
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    starts = np.searchsorted(ordered, ordered)
    rank = np.empty(len(cells), int)
    rank[order] = np.arange(len(cells)) - starts
    return corners[rank < room[cells]][: max(0, max_tracks - len(pixels))]


def _cells(pixels: Pixels, width: int, height: int) -> npt.NDArray[np.int64]:
    columns = np.clip(pixels[:, 0] * _CELL_COLUMNS / width, 0, _CELL_COLUMNS - 1).astype(np.int64)
    rows = np.clip(pixels[:, 1] * _CELL_ROWS / height, 0, _CELL_ROWS - 1).astype(np.int64)
    return rows * _CELL_COLUMNS + columns
