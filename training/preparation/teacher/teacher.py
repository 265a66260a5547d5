"""Teaches depth and poses: the motion of the whole drive, then depth by triangulation.

For each frame, the optical flow to frames before and after it over several baselines is
triangulated with the motion. What several of them agree on, and what passes all checks, is the
depth of a static scene, metric by the height of the camera. The sky is labeled where it is
certain, and what moves by itself is marked as such.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice

import numpy as np
from tqdm import tqdm

from sfm_ros.datatypes import DepthMap, FloatArray, Frame
from sfm_ros.geometry import inverse
from sfm_ros.source import Source, deferred
from training.preparation.teacher.depth import Numbered, measure_depth, reduced
from training.preparation.teacher.drive_motion import WARM_UP, DriveMotion, find_drive_motion
from training.preparation.teacher.flows import Flows
from training.preparation.teacher.images import GrayImage, GrayImages, ImageWindow
from training.preparation.teacher.own_vehicle import OwnVehicle
from training.preparation.teacher.view import Mask, View

_GAPS = (1, 2, 4)
"""Frames to those that a frame is compared with, before and after it."""
_USUAL_STEP_M, _MOST_SLOWER = 0.5, 4
"""With shorter steps the gaps grow, until the steps are as long, at most by this factor."""
_REACH = _GAPS[-1] * _MOST_SLOWER
_LEAST_BASELINE_M = 0.25
_OWN_SAMPLES = 24
_IS_WORKER = multiprocessing.parent_process() is not None
"""Several processes would write their progress over each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What is known of a frame.

    Attributes:
        depth_m: (h, w) on the grid of the set; see ``depth.f16`` in training/data/sequence.py.
        T_world_camera: (4, 4) pose in the first camera of the drive, meters.
    """

    depth_m: DepthMap
    T_world_camera: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What the frames of a drive have in common."""

    view: View
    flows: Flows
    own: Mask


class Teacher:
    """Teaches the frames of one drive, in order.

    Args:
        source: the drive.
        images: size of the set, and how frames are resampled.
        camera_height_m: of the camera above the road.
        stop: frames from this one on are not needed; None: all are.
    """

    def __init__(
        self, source: Source, images: GrayImages, camera_height_m: float, stop: int | None = None
    ) -> None:
        self._source, self._images = source, images
        self._height_m, self._stop = camera_height_m, stop
        self._window = ImageWindow(source, images)

    @cached_property
    def motion(self) -> DriveMotion:
        """The motion of the drive; found at the first use, in a tenth of the time of teaching."""
        with tqdm(
            desc="poses",
            unit="frame",
            total=self._count + min(WARM_UP, self._count),
            leave=False,
            disable=_IS_WORKER or None,
        ) as progress:
            frames = partial(self._frames, progress.update)
            return find_drive_motion(frames, self._height_m)

    def teach(self, index: int) -> Lesson | None:
        """What is known of a frame; None if its motion is unknown.

        Args:
            index: number of the frame in the source, larger than at the last call.
        """
        if index >= len(self.motion.segments) or self.motion.segments[index] < 0:
            return None
        depth = np.zeros((self._images.height, self._images.width), np.float32)
        near = self._neighbors(index)
        target = self._image(index, index)
        sources = [image for i in near if (image := self._image(i, index)) is not None]
        if target is not None and sources and self._scene is not None:
            scene = self._scene
            scene.flows.forget_before(index)
            measured = measure_depth(scene.view, scene.flows, target, sources, scene.own)
            depth = reduced(measured, self._images.factor)
        return Lesson(depth, self.motion.T_world_camera[index])

    @property
    def _count(self) -> int:
        """Frames whose motion is needed."""
        count = len(self._source)
        return count if self._stop is None else min(count, self._stop + _REACH)

    def _frames(self, advance: Callable[[], object]) -> Iterator[Frame | None]:
        for decode in islice(deferred(self._source), self._count):
            item = decode()
            yield None if item is None else item.frame
            advance()

    def _neighbors(self, index: int) -> list[int]:
        """Frames that this one is compared with, the nearest first."""
        poses = self.motion.T_world_camera[:, :3, 3]
        around = poses[max(0, index - _GAPS[-1]) : index + _GAPS[-1] + 1]
        steps = np.linalg.norm(np.diff(around, axis=0), axis=1)
        step = float(np.median(steps)) if len(steps) else 0.0
        slower = 1
        while slower < _MOST_SLOWER and step * slower < _USUAL_STEP_M:
            slower *= 2
        offsets = [sign * slower * gap for gap in _GAPS for sign in (1, -1)]
        return [i for offset in offsets if self._is_apart(index, i := index + offset)]

    def _is_apart(self, i: int, j: int) -> bool:
        """Whether the motion between two frames is known and long enough."""
        motion = self.motion
        if not 0 <= j < len(motion.segments) or not motion.is_connected(i, j):
            return False
        baseline = motion.T_world_camera[i, :3, 3] - motion.T_world_camera[j, :3, 3]
        return bool(np.linalg.norm(baseline) > _LEAST_BASELINE_M)

    def _image(self, index: int, target: int) -> Numbered | None:
        image = self._window.get(index, target - _REACH)
        scene = self._scene
        if image is None or scene is None or image.camera != scene.view.camera:
            return None
        return Numbered(index, image.gray, self.motion.T_world_camera[index])

    @cached_property
    def _scene(self) -> _Scene | None:
        """Camera and own vehicle, from pairs spread over the drive; None if it never moves."""
        pairs = self._spread_pairs()
        start = next(pairs, None)
        if start is None:
            return None
        view = View(start[0].camera, self._height_m, self.motion.normal)
        flows, own = Flows(view), OwnVehicle(view)
        for first, second, T_second_first in chain([start], pairs):
            own.add(first.gray, second.gray, flows.expected(T_second_first))
        return _Scene(view, flows, own.mask())

    def _spread_pairs(self) -> Iterator[tuple[GrayImage, GrayImage, FloatArray]]:
        """Neighbors that are apart, spread over the drive, and the motion between them."""
        apart = [i for i in range(len(self.motion.segments) - 1) if self._is_apart(i, i + 1)]
        every = max(1, len(apart) // _OWN_SAMPLES)
        window, poses = ImageWindow(self._source, self._images), self.motion.T_world_camera
        for i in apart[::every]:
            first, second = window.get(i, i), window.get(i + 1, i)
            if first is not None and second is not None:
                yield first, second, inverse(poses[i + 1]) @ poses[i]
