"""Motion of a rendered drive: metric, cut where it is unknown, at rest where nothing moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sfm_ros.datatypes import Frame
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.preparation.teacher.drive_motion import DriveMotion, find_drive_motion

COUNT = 30


@pytest.fixture(scope="module")
def street() -> SyntheticStreet:
    return SyntheticStreet(
        SyntheticConfig(seed=11, kind="city", width=416, height=128, frames=COUNT)
    )


@pytest.fixture(scope="module")
def frames(street: SyntheticStreet) -> list[Frame]:
    return [item.frame for item in street]


def motion_of(street: SyntheticStreet, frames: Sequence[Frame | None]) -> DriveMotion:
    return find_drive_motion(lambda: frames, street.camera_height_m)


def lengths(poses: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)


def test_steps_are_metric_from_the_first_frame_on(
    street: SyntheticStreet, frames: list[Frame]
) -> None:
    found = motion_of(street, frames)
    assert (found.segments == found.segments[0]).all()
    assert found.is_connected(0, COUNT - 1)
    ratio = lengths(found.T_world_camera) / lengths(street.poses)
    assert ratio == pytest.approx(1.0, abs=0.08)
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)
    turned = np.linalg.inv(street.poses[0]) @ street.poses[-1]
    error = np.linalg.inv(turned) @ found.T_world_camera[-1]
    assert np.abs(error[:3, :3] - np.eye(3)).max() < 0.01


def test_a_gap_cuts_the_drive(street: SyntheticStreet, frames: list[Frame]) -> None:
    late = [
        replace(f, stamp_ns=f.stamp_ns + (3_000_000_000 if i >= 15 else 0))
        for i, f in enumerate(frames)
    ]
    found = motion_of(street, late)
    assert found.segments[15] == -1
    assert found.is_connected(0, 14)
    assert found.is_connected(16, COUNT - 1)
    assert not found.is_connected(14, 16)
    steps = np.delete(lengths(found.T_world_camera) / lengths(street.poses), 14)
    assert steps == pytest.approx(1.0, abs=0.1)


def test_damaged_and_black_images_have_no_motion(
    street: SyntheticStreet, frames: list[Frame]
) -> None:
    spoiled: list[Frame | None] = list(frames)
    spoiled[8] = None
    spoiled[20] = replace(frames[20], rgb=np.zeros_like(frames[20].rgb))
    found = motion_of(street, spoiled)
    assert found.segments[8] == found.segments[20] == -1
    assert found.is_connected(7, 9)
    whole = np.linalg.norm(found.T_world_camera[10, :3, 3] - found.T_world_camera[7, :3, 3])
    expected = np.linalg.norm(street.poses[10, :3, 3] - street.poses[7, :3, 3])
    assert whole == pytest.approx(expected, rel=0.1)


def test_a_camera_that_stands_stays_where_it_is(
    street: SyntheticStreet, frames: list[Frame]
) -> None:
    rng, end = np.random.default_rng(0), frames[-1]
    standing = [
        replace(
            end,
            rgb=np.clip(end.rgb + rng.integers(-2, 3, end.rgb.shape), 0, 255).astype(np.uint8),
            stamp_ns=end.stamp_ns + (k + 1) * 100_000_000,
        )
        for k in range(10)
    ]
    found = motion_of(street, [*frames, *standing])
    assert found.is_connected(COUNT - 1, COUNT + 9)
    assert lengths(found.T_world_camera[COUNT - 1 :]).max() < 0.01
    assert lengths(found.T_world_camera[:COUNT]).min() > 0.1
