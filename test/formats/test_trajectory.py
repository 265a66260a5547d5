"""Trajectory files are read back exactly; errors name the damaged line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.trajectory import (
    Trajectory,
    associate,
    format_stamp,
    nearest_indices,
    parse_stamp,
)
from sfm_ros.formats.trajectory_files import read_trajectory, write_kitti, write_tum
from sfm_ros.geometry import make_transform, se3_exp


def _random_trajectory(count=7, seed=0):
    random = np.random.default_rng(seed)
    stamps = 1_317_000_000_123_456_789 + np.cumsum(random.integers(1, 10**8, count))
    poses = np.stack([se3_exp(random.normal(size=6)) for _ in range(count)])
    return Trajectory(stamps, poses)


def _file(tmp_path, text):
    path = tmp_path / "trajectory.txt"
    path.write_text(text)
    return path


def test_tum_round_trip_keeps_every_nanosecond(tmp_path):
    before = _random_trajectory()
    write_tum(tmp_path / "t.txt", before)
    after = read_trajectory(tmp_path / "t.txt")
    np.testing.assert_array_equal(after.stamps_ns, before.stamps_ns)
    np.testing.assert_allclose(after.poses, before.poses, atol=1e-12)


def test_kitti_round_trip_is_exact(tmp_path):
    before = _random_trajectory()
    write_kitti(tmp_path / "t.txt", before)
    after = read_trajectory(tmp_path / "t.txt", stamps_ns=list(before.stamps_ns))
    np.testing.assert_array_equal(after.poses, before.poses)
    np.testing.assert_array_equal(after.stamps_ns, before.stamps_ns)


def test_tum_columns(tmp_path):
    half = np.sqrt(0.5)
    path = _file(tmp_path, f"# comment\n\n1.5 1 2 3 0 0 {half} {half}\n")  # a quarter turn about z
    pose = read_trajectory(path).poses[0]
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(pose[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@settings(deadline=None)
@given(st.integers(-(2**62), 2**62))
def test_stamps_round_trip_through_decimal_strings(stamp_ns):
    assert parse_stamp(format_stamp(stamp_ns)) == stamp_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1305031110.043299", 1305031110043299000),
        ("1.036224e-01", 103622400),
        ("1317384506.123456789", 1317384506123456789),  # a float64 would lose the last digits
        ("0", 0),
    ],
)
def test_stamps_are_parsed_as_decimals(text, expected):
    assert parse_stamp(text) == expected


POSE = "1 0 0 0 0 1 0 0 0 0 1 0"
TUM_POSE = "0 0 0 0 0 0 1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"1 {TUM_POSE}\n2 0 0 0\n", r"line 2: 4 columns.*8"),
        (f"1 {TUM_POSE}\n2 nan 0 0 0 0 0 1\n", "line 2: a number is not finite"),
        ("1 0 0 0 0 0 0 0\n", "line 1: the quaternion is zero"),
        (
            f"2 {TUM_POSE}\n1 {TUM_POSE}\n",
            r"stamp 1 \(1.000000000 s\) is not later",
        ),
        (f"2 {TUM_POSE}\n2 {TUM_POSE}\n", "is not later"),
        (f"x {TUM_POSE}\n", "line 1"),
        (f"inf {TUM_POSE}\n", "line 1: the stamp is 'inf'"),
        ("# only a comment\n", "no pose"),
        (f"{POSE}\n{POSE} 1 2\n", "line 2: 14 columns.*12"),
        ("1 0 0 inf 0 1 0 0 0 0 1 0", "not finite"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0", "line 1: .*not a rotation"),
        (f"3 {POSE}\n2 {POSE}\n", "is not later"),
        ("", "no pose"),
        ("\n", "no pose"),
    ],
)
def test_damaged_line_is_named(tmp_path, text, named):
    with pytest.raises(TrajectoryError, match=named):
        read_trajectory(_file(tmp_path, text))


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(TrajectoryError, match="there is no trajectory file"):
        read_trajectory(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(TrajectoryError, match="cannot read"):
        read_trajectory(tmp_path / "binary")


def test_kitti_stamps_follow_the_frame_index(tmp_path):
    path = _file(tmp_path, f"2 {POSE}\n5 {POSE}\n")
    assert read_trajectory(path).stamps_ns.tolist() == [200_000_000, 500_000_000]
    assert read_trajectory(path, stamps_ns=range(100, 106)).stamps_ns.tolist() == [102, 105]
    with pytest.raises(TrajectoryError, match="frame 5.*3 stamps"):
        read_trajectory(path, stamps_ns=range(3))


def test_format_is_recognized_by_its_columns(tmp_path):
    assert read_trajectory(_file(tmp_path, f"# x\n1.5 {TUM_POSE}\n")).stamps_ns[0] == 1_500_000_000
    assert len(read_trajectory(_file(tmp_path, f"{POSE}\n{POSE}\n"))) == 2


def test_rebased_starts_at_identity():
    rebased = _random_trajectory().rebased()
    np.testing.assert_allclose(rebased.poses[0], np.eye(4), atol=1e-12)
    step = make_transform(np.eye(3), [0, 0, 2])
    turned = se3_exp([1, 2, 3, 0.3, 0.2, 0.1])
    two = Trajectory(np.array([0, 1]), np.stack([turned, turned @ step])).rebased()
    np.testing.assert_allclose(two.positions[1], [0, 0, 2], atol=1e-12)


def test_arrays_are_checked_and_read_only():
    with pytest.raises(TrajectoryError, match="at least one"):
        Trajectory(np.array([], dtype=np.int64), np.zeros((0, 4, 4)))
    with pytest.raises(TrajectoryError, match="shape"):
        Trajectory(np.array([1, 2]), np.eye(4)[None])
    with pytest.raises(ValueError):
        _random_trajectory().poses[0] = 0


def _at(stamps):
    return Trajectory(np.array(stamps), np.tile(np.eye(4), (len(stamps), 1, 1)))


def test_association_is_nearest_and_one_to_one():
    few, many = _at([100, 205, 209, 900]), _at([0, 98, 103, 207, 300, 500])
    in_few, in_many = associate(few, many, 10)
    assert in_few.tolist() == [0, 1] and in_many.tolist() == [1, 3]
    swapped = associate(many, few, 10)
    assert swapped[0].tolist() == [1, 3] and swapped[1].tolist() == [0, 1]


def test_association_of_different_clocks_is_refused():
    with pytest.raises(TrajectoryError, match="same clock"):
        associate(_at([1, 2]), _at([10**12, 10**12 + 1]), 100)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.integers(-100, 1100), max_size=10),
)
def test_nearest_is_nearest(stamps, queries):
    found = nearest_indices(np.array(stamps), np.array(queries, dtype=np.int64))
    for index, time in zip(found, queries, strict=True):
        assert abs(stamps[index] - time) == min(abs(stamp - time) for stamp in stamps)


def test_published_trajectories_are_read(shared_data):
    folder = shared_data / "oracle_odometry"
    with_gaps = read_trajectory(folder / "example_0_09.txt")
    assert len(with_gaps) == 1589 and with_gaps.stamps_ns[0] == 200_000_000
    keyframes = read_trajectory(folder / "freiburg1_xyz-ORB_kf_mono.txt")
    assert len(keyframes) == 32 and keyframes.stamps_ns[0] == 1305031110043299000
