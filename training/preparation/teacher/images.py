"""The images of a drive in the size in which the teacher measures, read in order."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.preprocess import ImagePreparer
from sfm_ros.source import Source, deferred
from training.preparation.teacher.view import Gray

WIDTH = 832
"""Pixels, about: the multiple of the width of the set that is nearest."""


@dataclass(frozen=True, slots=True, eq=False)
class GrayImage:
    """An image and its camera, without distortion."""

    gray: Gray
    camera: CameraIntrinsics


class GrayImages:
    """Resamples frames to a grid that is finer than that of the set by a whole factor.

    Args:
        width, height: size of the set.
        fit: see `ImagePreparer`.
    """

    def __init__(self, width: int, height: int, fit: str) -> None:
        self.width, self.height = width, height
        self.factor = max(1, round(WIDTH / width))
        self._preparer = ImagePreparer(width * self.factor, height * self.factor, fit)

    def prepare(self, frame: Frame) -> GrayImage:
        """The image of a frame."""
        prepared = self._preparer.prepare(frame)
        gray = cv2.cvtColor(prepared.rgb, cv2.COLOR_RGB2GRAY)
        return GrayImage(np.asarray(gray, dtype=np.uint8), prepared.intrinsics)


class ImageWindow:
    """The images around the one that is taught; those that are left behind are forgotten."""

    def __init__(self, source: Source, images: GrayImages) -> None:
        self._decoders, self._next = deferred(source), 0
        self._images = images
        self._kept: dict[int, GrayImage | None] = {}

    def get(self, index: int, oldest: int) -> GrayImage | None:
        """An image; None if it is damaged or beyond the end.

        Args:
            index: its number in the source, not below ``oldest``.
            oldest: images before this one will not be asked for again; those that have not been
                read yet are not decoded.
        """
        self._kept = {i: image for i, image in self._kept.items() if i >= oldest}
        while self._next <= index:
            decode = next(self._decoders, None)
            if decode is None:
                return None
            if self._next >= oldest:
                item = decode()
                self._kept[self._next] = None if item is None else self._images.prepare(item.frame)
            self._next += 1
        return self._kept.get(index)
