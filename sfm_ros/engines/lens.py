"""Lengths for the camera in use, from networks that predict those of one canonical camera.

The image by a focal length f of a scene is that by the canonical focal length c of the scene
stretched along the optical axis by c / f. So depth and forward motion are divided by that factor,
and rotations about the axes across the view multiplied by it (Yin et al., Metric3D, ICCV 2023).

The canonical camera has its optical axis in the middle of the image: the image by an axis
elsewhere is that of a scene sheared along it. And it has a height above the road: from twice the
height, a scene of twice the size looks the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.geometry import nearest_rotation, so3_exp, so3_log
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


def in_camera(
    depth: npt.NDArray, T_source_target: npt.NDArray, spec: ModelSpec, window: Window
) -> tuple[npt.NDArray, npt.NDArray]:
    """What the graphs computed for a window, as its camera has it.

    Args:
        depth: (h, w) of the depth graph.
        T_source_target: (N-1, 4, 4) of the pose graph.
        spec: of the bundle; without ``canonical_fx`` the lens does not matter, and without
            ``canonical_height_m``, or if the height is unknown, that does not.
    """
    if spec.canonical_fx:
        depth, T_source_target = _through_lens(depth, T_source_target, spec, window.intrinsics)
    if spec.canonical_height_m and window.camera_height_m:
        factor = window.camera_height_m / spec.canonical_height_m
        depth, T_source_target = depth * depth.dtype.type(factor), T_source_target.copy()
        T_source_target[:, :3, 3] *= factor
    return depth, T_source_target


def _through_lens(
    depth: npt.NDArray, T_source_target: npt.NDArray, spec: ModelSpec, camera: CameraIntrinsics
) -> tuple[npt.NDArray, npt.NDArray]:
    stretch = camera.fx / spec.canonical_fx
    shift = np.zeros(2)
    if spec.canonical_center:
        middle = (np.array([spec.width, spec.height]) - 1) / 2
        shift = (np.array([camera.cx, camera.cy]) - middle) / [camera.fx, camera.fy]
    motions = np.array(T_source_target, dtype=np.float64)
    for T in motions:
        _change(T, stretch, shift)
    return depth * depth.dtype.type(stretch), motions


def _change(T: npt.NDArray[np.float64], stretch: float, shift: npt.NDArray[np.float64]) -> None:
    """Change a transform in place; one that is not finite stays, for the output checks.

    As in training, the translation is changed in the orientation halfway between the frames.
    """
    if not np.isfinite(T).all():
        return
    rotation = so3_log(nearest_rotation(T[:3, :3]))
    x, y, z = rotation
    right, down = shift
    changed = np.array([x / stretch - right * z, y / stretch - down * z, z])
    translation = so3_exp(-0.5 * rotation) @ T[:3, 3]
    translation[2] *= stretch
    translation[:2] -= shift * translation[2]
    T[:3, :3] = so3_exp(changed)
    T[:3, 3] = so3_exp(0.5 * changed) @ translation
