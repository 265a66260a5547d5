"""What every engine does with a window: which graph sees what, and what is computed once."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, Prediction, RgbImage
from sfm_ros.engines.contract import FEATURES
from sfm_ros.engines.lens import in_camera
from sfm_ros.model_spec import ModelSpec, window_increments
from sfm_ros.window import Window

RunDepth = Callable[[npt.NDArray], tuple[npt.NDArray, ...]]
"""(1, h, w, 3) uint8 to the outputs of the depth graph, in arrays that nobody writes to later."""
RunPose = Callable[[npt.NDArray], npt.NDArray]
"""The input of the pose graph to its output."""
RunBoth = Callable[[npt.NDArray], tuple[npt.NDArray, npt.NDArray]]
"""(1, N, h, w, 3) uint8 to the outputs of both graphs."""


def gray_windows(spec: ModelSpec) -> Iterator[Window]:
    """Endless windows of gray images, each with one new frame, to run networks without others."""
    width, height, f = spec.width, spec.height, spec.training_fx
    camera = CameraIntrinsics(width=width, height=height, fx=f, fy=f, cx=width / 2, cy=height / 2)
    images: deque[RgbImage] = deque(maxlen=spec.sequence_length)
    for number in itertools.count():
        images.append(np.full((height, width, 3), 128, dtype=np.uint8))
        if len(images) == spec.sequence_length:
            first = number + 1 - spec.sequence_length
            yield Window(
                images=tuple(images),
                stamps_ns=tuple(range(first, number + 1)),
                intrinsics=camera,
            )


class WindowRunner:
    """Runs the two graphs of a bundle on windows.

    With ``pose_input: features`` the depth graph runs once for each frame: the features of the
    frames of the last window are kept, and known again by the images themselves.

    Args:
        spec: of the bundle.
        run_depth, run_pose: run a graph.
        run_both: runs both graphs on pixels at the same time, if the engine can.
    """

    def __init__(
        self,
        spec: ModelSpec,
        run_depth: RunDepth,
        run_pose: RunPose,
        run_both: RunBoth | None = None,
    ) -> None:
        self._spec = spec
        self._run_depth, self._run_pose, self._run_both = run_depth, run_pose, run_both
        self._seen: deque[tuple[RgbImage, tuple[npt.NDArray, ...]]] = deque(
            maxlen=spec.sequence_length
        )

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`."""
        start = time.perf_counter_ns()
        depth, motions = (
            self._from_features(window)
            if self._spec.pose_input == FEATURES
            else self._from_pixels(window)
        )
        elapsed = time.perf_counter_ns() - start
        own_depth, own_motions = in_camera(depth[0], motions[0], self._spec, window)
        return Prediction(
            depth=own_depth,
            increments=window_increments(own_motions, self._spec),
            inference_ns=elapsed,
        )

    def _from_pixels(self, window: Window) -> tuple[npt.NDArray, npt.NDArray]:
        if self._run_both is not None:
            return self._run_both(np.stack(window.images)[None])
        (depth,) = self._run_depth(window.images[-1][None])
        return depth, self._run_pose(np.stack(window.images)[None])

    def _from_features(self, window: Window) -> tuple[npt.NDArray, npt.NDArray]:
        outputs = [self._of_frame(image) for image in window.images]
        features = np.stack([features[0] for _, features in outputs])
        return outputs[-1][0], self._run_pose(features[None])

    def _of_frame(self, image: RgbImage) -> tuple[npt.NDArray, ...]:
        """Depth and features of a frame. The images are held, so that ``is`` can be trusted."""
        for seen, outputs in self._seen:
            if seen is image:
                return outputs
        outputs = self._run_depth(image[None])
        self._seen.append((image, outputs))
        return outputs
