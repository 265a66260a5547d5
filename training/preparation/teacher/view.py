"""The camera of the teacher's images, and the street that it expects to see before measuring."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, FloatArray

Map = npt.NDArray[np.float32]
"""(h, w) values of the pixels of an image."""
Mask = npt.NDArray[np.bool_]
Gray = npt.NDArray[np.uint8]

_WALL_M = 9.0
_FAR_M = 60.0
_LEAST_DEPTH = 0.1


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera over a road.

    Attributes:
        camera: of the images, without distortion.
        height_m: of the camera above the road.
        normal: (3,) unit normal of the road in the camera, pointing down.
    """

    camera: CameraIntrinsics
    height_m: float
    normal: FloatArray

    @cached_property
    def columns(self) -> Map:
        """(1, w) column of each pixel."""
        return np.arange(self.camera.width, dtype=np.float32)[None]

    @cached_property
    def rows(self) -> Map:
        """(h, 1) row of each pixel."""
        return np.arange(self.camera.height, dtype=np.float32)[:, None]

    @cached_property
    def x(self) -> Map:
        """(1, w) x / z of the ray of each column."""
        return (self.columns - np.float32(self.camera.cx)) / np.float32(self.camera.fx)

    @cached_property
    def y(self) -> Map:
        """(h, 1) y / z of the ray of each row."""
        return (self.rows - np.float32(self.camera.cy)) / np.float32(self.camera.fy)

    def planes(self, A: FloatArray) -> tuple[Map, Map, Map]:
        """``A @ ray`` of every pixel, for a (3, 3) matrix: three (h, w) maps."""
        A = A.astype(np.float32)
        x, y, z = (row[0] * self.x + (row[1] * self.y + row[2]) for row in A)
        return x, y, z

    def drop_below(self, rows_up: float = 0.0) -> Map:
        """(h, w) drop below the camera of a point at depth 1, seen ``rows_up`` rows further up."""
        n = self.normal.astype(np.float32)
        y = self.y - np.float32(rows_up / self.camera.fy)
        return np.asarray(n[0] * self.x + (n[1] * y + n[2]), dtype=np.float32)

    def road_inv_depth(self, rows_up: float = 0.0) -> Map:
        """(h, w) inverse depth of the road, 0 above its horizon; see `drop_below`."""
        drop = np.maximum(self.drop_below(rows_up), 0.0)
        return np.asarray(drop / self.height_m, dtype=np.float32)

    @cached_property
    def expected_inv_depth(self) -> Map:
        """(h, w) inverse depth of an empty street between two walls."""
        walls = np.abs(self.x) / np.float32(_WALL_M)
        street = np.maximum(self.road_inv_depth(), walls)
        return np.maximum(street, np.float32(1.0 / _FAR_M))

    def project(self, inv_depth: Map, T_source_target: FloatArray) -> tuple[Map, Map]:
        """(h, w) column and row at which each pixel is seen in another image."""
        camera, t = self.camera, T_source_target[:3, 3].astype(np.float32)
        x, y, z = self.planes(T_source_target[:3, :3])
        inv_z = 1 / np.maximum(z + t[2] * inv_depth, np.float32(_LEAST_DEPTH))
        u = (x + t[0] * inv_depth) * inv_z * np.float32(camera.fx) + np.float32(camera.cx)
        v = (y + t[1] * inv_depth) * inv_z * np.float32(camera.fy) + np.float32(camera.cy)
        return u, v

    def expected_flow(self, T_source_target: FloatArray) -> npt.NDArray[np.float32]:
        """(h, w, 2) where the expected street goes between two images, pixels."""
        u, v = self.project(self.expected_inv_depth, T_source_target)
        flow = np.dstack([u - self.columns, v - self.rows])
        return np.clip(flow, -self.camera.width / 2, self.camera.width / 2)
