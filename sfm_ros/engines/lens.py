"""Lengths for the camera in use, from networks that predict those of one canonical lens.

The image by a focal length f of a scene is that by the canonical focal length c of the scene
stretched along the optical axis by c / f. So depth and forward motion are divided by that factor,
and rotations about the axes across the view multiplied by it (Yin et al., Metric3D, ICCV 2023).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sfm_ros.geometry import nearest_rotation, so3_exp, so3_log
from sfm_ros.model_spec import ModelSpec


def in_camera(
    depth: npt.NDArray, T_source_target: npt.NDArray, spec: ModelSpec, fx: float
) -> tuple[npt.NDArray, npt.NDArray]:
    """What the graphs computed, as a camera has it.

    Args:
        depth: (h, w) of the depth graph.
        T_source_target: (N-1, 4, 4) of the pose graph.
        spec: of the bundle; without ``canonical_fx`` nothing changes.
        fx: focal length of the camera on the model's grid, pixels.
    """
    if not spec.canonical_fx:
        return depth, T_source_target
    stretch = fx / spec.canonical_fx
    motions = np.array(T_source_target, dtype=np.float64)
    for T in motions:
        _stretch(T, stretch)
    return depth * depth.dtype.type(stretch), motions


def _stretch(T: npt.NDArray[np.float64], factor: float) -> None:
    """Change a transform in place; one that is not finite stays, for the output checks."""
    if not np.isfinite(T).all():
        return
    rotation = so3_log(nearest_rotation(T[:3, :3])) * [1 / factor, 1 / factor, 1.0]
    T[:3, :3] = so3_exp(rotation)
    T[2, 3] *= factor
