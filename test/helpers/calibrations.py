"""Calibration files of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sfm_ros.datatypes import CameraIntrinsics


def write_camera_info(path: Path, camera: CameraIntrinsics) -> Path:
    """Write a camera as camera_calibration does; returns the path."""
    fields: dict[str, Any] = {
        "image_width": camera.width,
        "image_height": camera.height,
        "camera_matrix": {"rows": 3, "cols": 3, "data": camera.K.ravel().tolist()},
        "distortion_model": camera.distortion_model,
        "distortion_coefficients": {"data": list(camera.distortion)},
    }
    for name, matrix in (("rectification_matrix", camera.R), ("projection_matrix", camera.P)):
        if matrix is not None:
            fields[name] = {"data": np.ravel(matrix).tolist()}
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return path
