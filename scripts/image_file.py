"""The image file that a script draws: refused before the work, and written whole or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from sfm_ros.datatypes import RgbImage
from sfm_ros.errors import OutputError
from sfm_ros.outputs.cache import write_atomically
from sfm_ros.outputs.folder import check_output_files


def check_image_file(options: argparse.Namespace) -> None:
    """OutputError if ``--out`` is no file of an image by its name, or an input as well."""
    check_output_files(options, "out")
    if not cv2.haveImageWriter(str(options.out)):
        raise OutputError(f"--out is {options.out}, expected an image file such as figure.png")


def write_image(path: Path, rgb: RgbImage) -> None:
    """Write an image in the format of the suffix.

    Raises:
        OutputError: OpenCV cannot encode it.
        OSError: the file cannot be written.
    """
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(rgb[:, :, ::-1]))
    if not done:
        height, width = rgb.shape[:2]
        raise OutputError(f"OpenCV cannot write an image of {width}x{height} as {path.suffix}")
    write_atomically(path, data.tobytes())
