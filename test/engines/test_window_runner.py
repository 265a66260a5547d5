"""What is computed once: the features of a frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sfm_ros.datatypes import RgbImage
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.engines.window_runner import WindowRunner, gray_windows
from sfm_ros.window import Window

SPEC = dataclasses.replace(fake_spec(width=8, height=4), pose_input="features")


class Graphs:
    """The features of an image are its mean; what the pose graph saw is kept."""

    def __init__(self) -> None:
        self.encoded: list[float] = []
        self.seen: list[npt.NDArray] = []
        self.runner = WindowRunner(SPEC, self._depth, self._pose)

    def _depth(self, rgb: npt.NDArray) -> tuple[npt.NDArray, ...]:
        assert rgb.shape == (1, 4, 8, 3)
        self.encoded.append(float(rgb.mean()))
        depth = np.full((1, 4, 8), rgb.mean(), dtype=np.float32)
        return depth, np.full((1, 2, 1, 1), rgb.mean(), dtype=np.float32)

    def _pose(self, features: npt.NDArray) -> npt.NDArray:
        self.seen.append(features)
        return np.tile(np.eye(4, dtype=np.float32), (1, 2, 1, 1))


def image(level: int) -> RgbImage:
    return np.full((4, 8, 3), level, dtype=np.uint8)


def window(*images: RgbImage) -> Window:
    one = next(gray_windows(SPEC))
    return dataclasses.replace(one, images=images)


def test_a_frame_is_encoded_once_while_the_window_slides() -> None:
    graphs = Graphs()
    frames = [image(level) for level in range(6)]
    for newest in range(2, 6):
        prediction = graphs.runner.infer(window(*frames[newest - 2 : newest + 1]))
        assert prediction.depth[0, 0] == newest
    assert graphs.encoded == [0, 1, 2, 3, 4, 5]
    assert [list(seen[0, :, 0, 0, 0]) for seen in graphs.seen] == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5],
    ]  # fmt: skip
    assert graphs.seen[0].shape == (1, 3, 2, 1, 1)


def test_a_new_segment_is_encoded_as_a_whole() -> None:
    graphs = Graphs()
    graphs.runner.infer(window(image(1), image(2), image(3)))
    graphs.runner.infer(window(image(1), image(2), image(4)))  # equal images, but other frames
    assert graphs.encoded == [1, 2, 3, 1, 2, 4]


def test_an_image_that_comes_twice_is_known() -> None:
    graphs = Graphs()
    twice, other = image(1), image(2)
    graphs.runner.infer(window(twice, twice, other))
    graphs.runner.infer(window(twice, other, twice))
    assert graphs.encoded == [1, 2]
    assert list(graphs.seen[-1][0, :, 0, 0, 0]) == [1, 2, 1]


def test_gray_windows_slide() -> None:
    windows = gray_windows(SPEC)
    first, second = next(windows), next(windows)
    assert first.images[1] is second.images[0] and first.images[0] is not second.images[0]
    assert first.stamps_ns == (0, 1, 2) and second.stamps_ns == (1, 2, 3)
    assert first.images[0].shape == (SPEC.height, SPEC.width, 3)


@pytest.mark.parametrize("count", [1, 7])
def test_no_more_frames_are_held_than_a_window_has(count: int) -> None:
    graphs = Graphs()
    windows = gray_windows(SPEC)
    for _ in range(count):
        graphs.runner.infer(next(windows))
    assert len(graphs.runner._seen) == SPEC.sequence_length
