"""The stored frames that engines are compared on: rendered streets, which ship with the package.

``scripts/parity_frames.py`` makes them. They are rendered by this project, so that no licence of
others applies, and look like what the networks were trained on, so that their outputs are in the
range where an error matters.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, Frame, RgbImage
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.preprocess import ImagePreparer
from sfm_ros.window import Window

ARCHIVE = Path(__file__).with_suffix(".npz")
_PERIOD_NS = 100_000_000


def parity_windows(spec: ModelSpec) -> list[Window]:
    """Windows of the stored frames on the model's grid, as many as there are in each street.

    A model that looks at more frames than a street has gets them forwards and backwards.

    Raises:
        ModelError: the installation lacks the frames, or they are damaged.
    """
    windows: list[Window] = []
    for frames in _streets().values():
        preparer = ImagePreparer(spec.width, spec.height)
        prepared = [preparer.prepare(frame) for frame in _there_and_back(frames, spec)]
        camera = prepared[0].intrinsics
        windows += [
            Window(
                images=tuple(p.rgb for p in prepared[first : first + spec.sequence_length]),
                stamps_ns=tuple(_PERIOD_NS * (first + k) for k in range(spec.sequence_length)),
                intrinsics=camera,
            )
            for first in range(len(prepared) - spec.sequence_length + 1)
        ]
    return windows


def _there_and_back(frames: list[Frame], spec: ModelSpec) -> list[Frame]:
    while len(frames) < spec.sequence_length:
        frames = [*frames, *reversed(frames[:-1])]
    return frames


def _streets() -> dict[str, list[Frame]]:
    """The frames of each street, in order of time."""
    streets: dict[str, list[Frame]] = {}
    try:
        with np.load(ARCHIVE, allow_pickle=False) as archive:
            fx = float(archive["fx"])
            for name in sorted(set(archive.files) - {"fx"}):
                frames = streets.setdefault(name.partition("_")[0], [])
                frames.append(_frame(archive[name], fx, len(frames)))
    except (OSError, ValueError, KeyError, BadZipFile, cv2.error) as error:
        raise ModelError(
            f"the frames that engines are compared on cannot be read: {error}; reinstall sfm_ros"
        ) from error
    return streets


def _frame(jpeg: RgbImage, fx: float, number: int) -> Frame:
    rgb = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1]
    height, width = rgb.shape[:2]
    camera = CameraIntrinsics(
        width=width, height=height, fx=fx, fy=fx, cx=(width - 1) / 2, cy=(height - 1) / 2
    )
    return Frame(stamp_ns=_PERIOD_NS * number, rgb=rgb, intrinsics=camera)
