"""Depth and poses by a teacher for the frames that have no ground truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from sfm_ros.errors import SourceError
from sfm_ros.source import Source
from training.data.sequence import PreparedFrame
from training.preparation.frame_options import FrameOptions
from training.preparation.teacher.images import GrayImages
from training.preparation.teacher.teacher import Teacher


class Lessons:
    """Adds what the teacher of ``options`` knows, if there is one.

    Args:
        source: the drive; its frames are read again.
        options: size of the set, and the teacher.
        phase: index of the first frame that is taken.
    """

    def __init__(self, source: Source, options: FrameOptions, phase: int) -> None:
        self._source, self._options, self._phase = source, options, phase

    def taught(self, frame: PreparedFrame) -> PreparedFrame:
        """A frame with taught depth and pose, unless it has depth or there is no teacher.

        A frame whose motion is unknown gets neither, so that it ends a sequence: the poses of a
        sequence are connected by known motions.
        """
        if self._options.teacher == "none" or frame.depth_m is not None:
            return frame
        lesson = self._teacher.teach(self._phase + frame.index * self._options.every)
        if lesson is None:
            return replace(frame, T_world_camera=None)
        return replace(frame, depth_m=lesson.depth_m, T_world_camera=lesson.T_world_camera)

    @cached_property
    def _teacher(self) -> Teacher:
        options = self._options
        images = GrayImages(options.width, options.height, options.fit)
        height_m = camera_height_of(self._source, options.camera_height)
        limit = options.limit
        stop = None if limit is None else self._phase + limit * options.every
        return Teacher(self._source, images, height_m, stop)


def camera_height_of(source: Source, stated: float | None) -> float:
    """Height of the camera above the road in meters, as stated, else as the source has it.

    Raises:
        SourceError: neither is known.
    """
    height = known_camera_height(source, stated)
    if height is None:
        raise SourceError(
            f"the teacher needs the height of the camera of {source.name} above the road, which "
            "makes its depth metric; state it in meters with --camera-height"
        )
    return height


def known_camera_height(source: Source, stated: float | None) -> float | None:
    """As `camera_height_of`; None if neither is known."""
    height = stated or getattr(source, "camera_height_m", None)
    return float(height) if height else None
