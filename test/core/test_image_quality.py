"""Which images show no scene, and that streets are not among them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from streets import shared_street

from sfm_ros.config import HealthConfig
from sfm_ros.datatypes import Reason, RgbImage
from sfm_ros.image_quality import check_image, image_stats, is_exposure_jump, is_repeated
from sfm_ros.preprocess import ImagePreparer
from sfm_ros.sources.kitti.source import open_kitti

CONFIG = HealthConfig()
SHAPE = (128, 416, 3)


def noise(low: int, high: int, seed: int = 0) -> RgbImage:
    return np.random.default_rng(seed).integers(low, high + 1, SHAPE).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros(SHAPE, np.uint8), Reason.NO_TEXTURE),
        (np.full(SHAPE, 255, np.uint8), Reason.NO_TEXTURE),
        (noise(0, 6), Reason.NO_TEXTURE),
        (noise(0, 255), Reason.IMAGE_NOISE),
        (noise(100, 140), Reason.IMAGE_NOISE),
        (np.zeros((1, 1, 3), np.uint8), Reason.NO_TEXTURE),
    ],
    ids=["black", "white", "dark with noise", "white noise", "gray noise", "one pixel"],
)
def test_image_without_scene(image: RgbImage, expected: Reason) -> None:
    assert check_image(image_stats(image), CONFIG) is expected


def test_block_contrast_of_white_noise() -> None:
    stats = image_stats(noise(0, 255))
    assert stats.block_contrast / stats.contrast == pytest.approx(1 / 8, rel=0.1)


def test_noisy_scene_passes() -> None:
    rgb = shared_street().render(10).frame.rgb
    noisy = np.clip(rgb.astype(int) + noise(0, 60, seed=1) - 30, 0, 255)
    assert check_image(image_stats(noisy.astype(np.uint8)), CONFIG) is None


def test_repeated_image_is_bit_equal() -> None:
    first = image_stats(noise(0, 255))
    other = noise(0, 255)
    assert is_repeated(image_stats(other), first, CONFIG)
    other[-1, -1, 0] ^= 1
    assert not is_repeated(image_stats(other), first, CONFIG)


def test_exposure_jump_limit() -> None:
    gray = image_stats(np.full(SHAPE, 100, np.uint8))
    assert not is_exposure_jump(image_stats(np.full(SHAPE, 140, np.uint8)), gray, CONFIG)
    assert is_exposure_jump(image_stats(np.full(SHAPE, 141, np.uint8)), gray, CONFIG)
    off = HealthConfig(max_exposure_jump=0.0)
    assert not is_exposure_jump(image_stats(np.full(SHAPE, 255, np.uint8)), gray, off)


def check_no_alarm(images: list[RgbImage]) -> None:
    """Every image passes, and none repeats or jumps from the one before."""
    all_stats = [image_stats(image) for image in images]
    assert [check_image(stats, CONFIG) for stats in all_stats] == [None] * len(images)
    for before, stats in itertools.pairwise(all_stats):
        assert not is_repeated(stats, before, CONFIG)
        assert not is_exposure_jump(stats, before, CONFIG)


def test_rendered_street_raises_no_alarm() -> None:
    check_no_alarm([shared_street().render(index).frame.rgb for index in range(7, 15)])


def test_real_drive_raises_no_alarm(shared_data: Path) -> None:
    prepare = ImagePreparer(416, 128).prepare
    drive = open_kitti(shared_data / "kitti_odom03_head")
    check_no_alarm([prepare(item.frame).rgb for item, _ in zip(drive, range(40), strict=False)])
