"""The whole teacher on a rendered drive, whose depth and poses are exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sfm_ros.datatypes import FloatArray
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.data.sequence import SKY_DEPTH_M
from training.preparation.teacher.images import GrayImages
from training.preparation.teacher.teacher import Lesson, Teacher

COUNT, TAUGHT = 16, range(4, 12, 3)
WIDTH, HEIGHT = 416, 128


class Recording:
    """Frames without ground truth; decoding is counted, and one image may be damaged."""

    name = "recording"

    def __init__(self, items: list[SourceItem], damaged: int | None = None) -> None:
        self._items, self._damaged = items, damaged
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[SourceItem]:
        raise AssertionError("frames are decoded one by one")

    def deferred(self) -> Iterator[object]:
        for index in range(len(self)):
            yield lambda index=index: self._decode(index)

    def _decode(self, index: int) -> SourceItem | None:
        self.decoded.append(index)
        return None if index == self._damaged else SourceItem(frame=self._items[index].frame)


@pytest.fixture(scope="module")
def street() -> SyntheticStreet:
    return SyntheticStreet(
        SyntheticConfig(seed=3, kind="city", width=2 * WIDTH, height=2 * HEIGHT, frames=COUNT)
    )


@pytest.fixture(scope="module")
def items(street: SyntheticStreet) -> list[SourceItem]:
    return list(street)


def new_teacher(recording: Recording, street: SyntheticStreet) -> Teacher:
    images = GrayImages(WIDTH, HEIGHT, "crop")
    return Teacher(recording, images, street.camera_height_m)


@pytest.fixture(scope="module")
def lessons(street: SyntheticStreet, items: list[SourceItem]) -> dict[int, Lesson | None]:
    teacher = new_teacher(Recording(items), street)
    return {index: teacher.teach(index) for index in TAUGHT}


def exact(item: SourceItem) -> FloatArray:
    """(h, w) exact depth of the four pixels in each of the set, NaN at silhouettes."""
    assert item.depth_m is not None
    four = item.depth_m.reshape(HEIGHT, 2, WIDTH, 2).astype(float)
    smallest, largest = four.min(axis=(1, 3)), four.max(axis=(1, 3))
    is_one = largest < 1.1 * smallest
    return np.where(is_one, (smallest + largest) / 2, np.where(largest > 0, np.nan, 0.0))


def test_depth_is_metric_and_semi_dense(
    items: list[SourceItem], lessons: dict[int, Lesson | None]
) -> None:
    errors, covered = [], []
    for index, lesson in lessons.items():
        assert lesson is not None
        depth, expected = lesson.depth_m, exact(items[index])
        near = (expected > 0) & (expected < 50.0)
        known = near & (depth > 0) & (depth < SKY_DEPTH_M)
        covered.append(known.sum() / near.sum())
        errors.append(np.abs(depth[known] / expected[known] - 1))
    error = np.concatenate(errors)
    assert np.mean(covered) > 0.5
    assert np.median(error) < 0.05
    assert error.mean() < 0.1


def test_sky_is_labeled_where_it_is(
    items: list[SourceItem], lessons: dict[int, Lesson | None]
) -> None:
    labeled, wrong = 0, 0
    for index, lesson in lessons.items():
        assert lesson is not None
        is_sky = lesson.depth_m == SKY_DEPTH_M
        labeled += is_sky.sum()
        wrong += (exact(items[index])[is_sky] > 0).sum()
    assert labeled > 1000
    assert wrong < 0.01 * labeled


def test_poses_are_metric(street: SyntheticStreet, lessons: dict[int, Lesson | None]) -> None:
    first, last = lessons[TAUGHT[0]], lessons[TAUGHT[-1]]
    assert first is not None
    assert last is not None
    found = np.linalg.inv(first.T_world_camera) @ last.T_world_camera
    expected = np.linalg.inv(street.poses[TAUGHT[0]]) @ street.poses[TAUGHT[-1]]
    length = np.linalg.norm(expected[:3, 3])
    assert np.linalg.norm(found[:3, 3] - expected[:3, 3]) < 0.06 * length
    assert np.abs(found[:3, :3] - expected[:3, :3]).max() < 0.01


def test_a_damaged_image_is_passed_over(
    street: SyntheticStreet, items: list[SourceItem], lessons: dict[int, Lesson | None]
) -> None:
    recording = Recording(items, damaged=8)
    teacher = new_teacher(recording, street)
    assert teacher.teach(8) is None
    lesson, whole = teacher.teach(10), lessons[10]
    assert lesson is not None
    assert whole is not None
    assert (lesson.depth_m > 0).mean() > 0.6 * (whole.depth_m > 0).mean()


def test_a_camera_that_stands_teaches_its_pose_alone(
    street: SyntheticStreet, items: list[SourceItem]
) -> None:
    first = items[0].frame
    noise = np.random.default_rng(0).integers(-2, 3, (COUNT, *first.rgb.shape))
    standing = [
        SourceItem(frame=replace(item.frame, rgb=np.clip(first.rgb + n, 0, 255).astype(np.uint8)))
        for item, n in zip(items, noise, strict=True)
    ]
    lesson = new_teacher(Recording(standing), street).teach(5)
    assert lesson is not None
    assert not lesson.depth_m.any()
    assert np.linalg.norm(lesson.T_world_camera[:3, 3]) < 0.01


def test_only_the_images_around_are_decoded_again(
    street: SyntheticStreet, items: list[SourceItem]
) -> None:
    recording = Recording(items)
    teacher = new_teacher(recording, street)
    teacher.teach(10)
    first = len(recording.decoded)
    teacher.teach(11)
    assert len(recording.decoded) <= first + 1
