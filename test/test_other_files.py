"""Files of other programs, beside their recordings, that were once misread without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.source import deferred
from sfm_ros.sources.factory import recognize

Case = Callable[[str], Path]


def test_quaternions_that_begin_with_w_are_read_by_their_header(case: Case) -> None:
    first, second = (
        read_trajectory(case(f"csv-quaternion-w-first/{n}.csv")) for n in ("gt", "est")
    )
    np.testing.assert_allclose(first.poses, second.poses, atol=1e-9)
    steps = np.linalg.inv(first.poses[:-1]) @ first.poses[1:]
    forward = steps[:, 2, 3] / np.linalg.norm(steps[:, :3, 3], axis=1)
    assert (forward > 0.9).all()  # the wrong order turns the camera aside


@pytest.mark.parametrize("name", ["orbslam3.txt", "tumvi.csv"])
def test_stamps_in_nanoseconds_are_recognized(name: str, case: Case) -> None:
    folder = case("trajectory-nanosecond-stamps")
    expected, found = read_trajectory(folder / "gt.tum"), read_trajectory(folder / name)
    assert np.abs(found.stamps_ns - expected.stamps_ns).max() < 1000


@pytest.mark.parametrize(
    ("name", "model", "count"),
    [("fisheye", "equidistant", 4), ("rational", "rational_polynomial", 8)],
)
def test_model_under_its_older_key_is_taken(name: str, model: str, count: int, case: Case) -> None:
    camera = read_camera(case(f"yaml-camera-model-key/{name}.yaml")).intrinsics
    assert (camera.distortion_model, len(camera.distortion)) == (model, count)


def test_suffix_in_capitals_is_a_bag(case: Case) -> None:
    path = case("ros1-bag-names/X.BAG")
    assert recognize(path) == "bag"
    source = open_input(InputOptions(kind="bag", path=path)).source
    assert len(source) > 0 and all(decode() is not None for decode in deferred(source))
