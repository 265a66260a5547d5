"""Images that encode the position of each pixel, a room of known depth, and a camera's optics.

With them a pixel of the camera can be followed to a point of the cloud: whatever a node does to an
image, the colors that remain still encode which pixel of the camera they came from. Nothing here
uses the project's own geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from sfm_ros.datatypes import RgbImage

Numbers = NDArray[np.float64]

_WAVE_PX = 128.0
_MIDDLE, _SWING = 127.5, 100.0
_SWING_KEPT = 15.0
"""Tolerance of the swing of a pixel into which no black from outside the image was mixed."""


@dataclass(frozen=True, kw_only=True)
class Optics:
    """A camera as its calibration describes it, at full resolution.

    Attributes:
        width, height: of the sensor, pixels.
        K: fx, fy, cx, cy.
        model, D: distortion, as ROS names it.
        R: (3, 3) from the camera to the rectified camera.
        P: fx, fy, cx, cy of the rectified image, or None.
        baseline_px: P[0, 3], of the second camera of a pair.
        region: x, y, width, height of the part that is read out, or None for all.
        binning: sensor pixels per pixel, along x and y.
        is_rectified: the image that is sent is rectified to P, although K and D describe the lens.
    """

    width: int
    height: int
    K: tuple[float, float, float, float]
    model: str = "plumb_bob"
    D: tuple[float, ...] = (0.0,) * 5
    R: Numbers = field(default_factory=lambda: np.eye(3))
    P: tuple[float, float, float, float] | None = None
    baseline_px: float = 0.0
    region: tuple[int, int, int, int] | None = None
    binning: tuple[int, int] = (1, 1)
    is_rectified: bool = False

    def info(self) -> CameraInfo:
        """The message that describes it."""
        fx, fy, cx, cy = self.K
        p = [0.0] * 12
        if self.P is not None:
            pfx, pfy, pcx, pcy = self.P
            p = [pfx, 0.0, pcx, self.baseline_px, 0.0, pfy, pcy, 0.0, 0.0, 0.0, 1.0, 0.0]
        message = CameraInfo(
            width=self.width,
            height=self.height,
            distortion_model=self.model,
            d=list(self.D),
            k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
            r=self.R.ravel().tolist(),
            p=p,
            binning_x=self.binning[0],
            binning_y=self.binning[1],
        )
        if self.region is not None:
            x, y, width, height = self.region
            message.roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
        return message

    def project(self, rectified: Numbers) -> Numbers:
        """(..., 2) sensor pixels of (..., 3) points in the rectified camera's optical axes."""
        if self.is_rectified and self.P is not None:
            fx, fy, cx, cy = self.P
            x, y = rectified[..., 0] / rectified[..., 2], rectified[..., 1] / rectified[..., 2]
            return np.stack([fx * x + cx, fy * y + cy], axis=-1)
        p = rectified @ self.R  # R^T p: back into the camera before rectification
        x, y = p[..., 0] / p[..., 2], p[..., 1] / p[..., 2]
        x, y = _distorted(self.model, self.D, x, y)
        fx, fy, cx, cy = self.K
        return np.stack([fx * x + cx, fy * y + cy], axis=-1)

    def rays(self, pixels: Numbers) -> Numbers:
        """(..., 3) directions in rectified axes, z = 1, of (..., 2) sensor pixels.

        Found by Newton's method on `project`, so that only one formula can be wrong.
        """
        xy = np.zeros_like(pixels)
        step = 1e-6
        for _ in range(30):
            at = self.project(_with_depth(xy))
            along_x = (self.project(_with_depth(xy + [step, 0.0])) - at) / step
            along_y = (self.project(_with_depth(xy + [0.0, step])) - at) / step
            J = np.stack([along_x, along_y], axis=-1)
            off = np.linalg.solve(J, (pixels - at)[..., None])[..., 0]
            xy = xy + np.clip(off, -0.3, 0.3)
            if np.abs(off).max() < 1e-9:
                break
        assert np.abs(self.project(_with_depth(xy)) - pixels).max() < 1e-6
        return _with_depth(xy)

    def image(self, axis: int) -> RgbImage:
        """What the camera sends of a scene that encodes each sensor pixel's x (0) or y (1).

        Red rises over the whole sensor, green and blue are a cosine and a sine: together they
        give the position to a tenth of a pixel, which averaging over neighbors does not change.
        """
        x, y, width, height = self.region or (0, 0, self.width, self.height)
        columns, rows = width // self.binning[0], height // self.binning[1]
        begin, bins, count = ((x, self.binning[0], columns), (y, self.binning[1], rows))[axis]
        # The center of the sensor pixels that form a pixel of the image.
        position = begin + np.arange(count) * bins + (bins - 1) / 2
        phase = 2 * np.pi * position / _WAVE_PX
        sensor = (self.width, self.height)[axis]
        levels = np.stack(
            [
                20 + 200 * position / sensor,
                _MIDDLE + _SWING * np.cos(phase),
                _MIDDLE + _SWING * np.sin(phase),
            ],
            axis=-1,
        )
        line = np.rint(levels).astype(np.uint8)
        whole = line[None, :, :] if axis == 0 else line[:, None, :]
        return np.broadcast_to(whole, (rows, columns, 3))

    def positions(self, images: list[RgbImage]) -> tuple[Numbers, NDArray[np.bool_]]:
        """(h, w, 2) sensor pixels that two images of `image` encode, and (h, w) whether they do.

        Args:
            images: one of axis 0 and one of axis 1, cropped, undistorted and resized.
        """
        found, shown = zip(
            *(
                _position(image.astype(np.float64), sensor)
                for image, sensor in zip(images, (self.width, self.height), strict=True)
            ),
            strict=True,
        )
        return np.stack(found, axis=-1), np.logical_and(*shown)


def _position(rgb: Numbers, sensor: int) -> tuple[Numbers, NDArray[np.bool_]]:
    cosine, sine = rgb[..., 1] - _MIDDLE, rgb[..., 2] - _MIDDLE
    fine = np.arctan2(sine, cosine) / (2 * np.pi) * _WAVE_PX
    coarse = (rgb[..., 0] - 20) / 200 * sensor
    position = fine + _WAVE_PX * np.rint((coarse - fine) / _WAVE_PX)
    swing = np.hypot(cosine, sine)
    is_shown = (np.abs(swing - _SWING) < _SWING_KEPT) & (
        np.abs(coarse - position) < 0.1 * _WAVE_PX
    )
    return position, is_shown


def _with_depth(xy: Numbers) -> Numbers:
    return np.concatenate([xy, np.ones((*xy.shape[:-1], 1))], axis=-1)


def _distorted(
    model: str, D: tuple[float, ...], x: Numbers, y: Numbers
) -> tuple[Numbers, Numbers]:
    """Normalized coordinates after the lens, as ROS defines its three models (REP 104)."""
    if model == "equidistant":
        r = np.maximum(np.hypot(x, y), 1e-12)
        angle = np.arctan(r)
        bent = angle * (1 + sum(k * angle ** (2 * i + 2) for i, k in enumerate(D)))
        return x * bent / r, y * bent / r
    k1, k2, p1, p2, k3, k4, k5, k6 = (*D, *(0.0,) * 8)[:8]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


ROOM = {"right": 2.5, "left": -3.0, "floor": 1.5, "ceiling": -1.2, "end": 9.0}
"""Meters in the rectified camera's optical axes: walls, floor, ceiling and the end of a room."""


def room_depth(rays: Numbers) -> Numbers:
    """Depth along z where (..., 3) rays with z = 1 meet the room."""
    x, y = rays[..., 0], rays[..., 1]
    with np.errstate(divide="ignore"):
        across = np.where(x > 0, ROOM["right"], ROOM["left"]) / x
        down = np.where(y > 0, ROOM["floor"], ROOM["ceiling"]) / y
    return np.minimum(np.minimum(np.abs(across), np.abs(down)), ROOM["end"])


def cloud_of_depth(depth: Image, info: CameraInfo) -> Numbers:
    """(h, w, 3) points as depth_image_proc makes them of a 32FC1 image and its calibration.

    It takes fx, fy, cx, cy out of P (image_geometry's PinholeCameraModel), not out of K.
    """
    assert (depth.encoding, depth.width, depth.height) == ("32FC1", info.width, info.height)
    assert (info.binning_x, info.binning_y, info.roi.width, info.roi.height) == (0, 0, 0, 0)
    assert not any(info.d) and info.p[3] == info.p[7] == 0
    z = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    fx, cx, fy, cy = info.p[0], info.p[2], info.p[5], info.p[6]
    v, u = np.mgrid[: depth.height, : depth.width]
    return np.stack([(u - cx) * z / fx, (v - cy) * z / fy, z], axis=-1).astype(np.float64)
