"""The tree of transforms: chains, times, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sfm_ros.bags.transform_tree import MAX_FRAMES, MAX_GAP_NS, MAX_SAMPLES, TransformTree
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.geometry import inverse, make_transform, quat_xyzw_from_matrix, se3_exp, so3_exp

RNG = np.random.default_rng(5)
SECOND = 1_000_000_000


def random_transform() -> np.ndarray:
    return se3_exp(RNG.uniform(-2, 2, 6))


def forward(meters: float) -> np.ndarray:
    return make_transform(np.eye(3), [meters, 0.0, 0.0])


def turned(degrees: float) -> np.ndarray:
    return make_transform(so3_exp([0, 0, np.radians(degrees)]), np.zeros(3))


def message(
    parent: str, child: str, quat_xyzw: Any, position: Any, stamp_ns: int = 0
) -> SimpleNamespace:
    """The fields of a geometry_msgs/TransformStamped."""
    sec, nanosec = divmod(stamp_ns, SECOND)
    stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
    rotation = SimpleNamespace(**dict(zip("xyzw", quat_xyzw, strict=True)))
    translation = SimpleNamespace(**dict(zip("xyz", position, strict=True)))
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=parent, stamp=stamp),
        child_frame_id=child,
        transform=SimpleNamespace(rotation=rotation, translation=translation),
    )


def test_transforms_are_chained_up_and_down() -> None:
    T_base_mast, T_mast_eye, T_base_arm = (random_transform() for _ in range(3))
    tree = TransformTree()
    tree.add("base", "mast", T_base_mast)
    tree.add("mast", "eye", T_mast_eye)
    tree.add("/base", "arm", T_base_arm)
    expected = inverse(T_base_arm) @ T_base_mast @ T_mast_eye
    for found in (tree.lookup("arm", "/eye"), tree.static_transform("arm", "eye")):
        assert found is not None and np.allclose(found, expected)
    assert tree.lookup("base", "elsewhere") is None
    assert tree.has_parent("eye") and not tree.has_parent("base")
    assert tree.frames == ["arm", "base", "eye", "mast"]


def test_message_is_read() -> None:
    T = random_transform()
    tree = TransformTree()
    quat = 3.0 * quat_xyzw_from_matrix(T[:3, :3])  # any length
    tree.add_message(message("/base", "eye", quat, T[:3, 3], 7 * SECOND + 1), is_static=False)
    assert tree.lookup("base", "eye", 7 * SECOND + 1) == pytest.approx(T)
    assert tree.static_transform("base", "eye") is None


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [
        ((0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        ((0.0, np.nan, 0.0, 1.0), (1.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0, 1.0), (np.inf, 0.0, 0.0)),
        ((0.0, 0.0, 0.0, 1.0), (1e150, 0.0, 0.0)),
    ],
    ids=["zero quaternion", "nan", "inf", "absurd"],
)
def test_message_without_rigid_motion_is_ignored(
    rotation: tuple[float, ...], translation: tuple[float, ...]
) -> None:
    tree = TransformTree()
    assert not tree.add_message(message("base", "eye", rotation, translation), is_static=True)
    assert tree.lookup("base", "eye") is None and not tree.frames
    tree.add_message(message("base", "eye", (0, 0, 0, 1), (0, 0, 0)), is_static=True)
    assert tree.lookup("base", "eye") == pytest.approx(np.eye(4))


@pytest.mark.parametrize(
    "T", [np.full((4, 4), np.nan), np.diag([2.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1])]
)
def test_matrix_without_rigid_motion_is_ignored(T: np.ndarray) -> None:
    tree = TransformTree()
    tree.add("base", "eye", T)
    assert tree.lookup("base", "eye") is None


def test_cycle_ends_the_walk() -> None:
    tree = TransformTree()
    tree.add("b", "a", np.eye(4))
    tree.add("a", "b", np.eye(4))
    assert tree.lookup("c", "a") is None and tree.static_transform("c", "a") is None
    with pytest.raises(SourceError, match="not to 'c'"):
        tree.path_of("a", "c")


def test_newest_static_transform_replaces_the_one_before() -> None:
    tree = TransformTree()
    tree.add("base", "eye", forward(1.0))
    tree.add("mast", "eye", forward(2.0))
    assert tree.lookup("base", "eye") is None
    assert tree.lookup("mast", "eye", 5 * SECOND) == pytest.approx(forward(2.0))


def test_moving_transform_is_interpolated_at_a_time() -> None:
    tree = TransformTree()
    tree.add("base", "pan", turned(30.0), SECOND // 2)
    tree.add("base", "pan", turned(0.0), 0)  # out of order
    tree.add("pan", "eye", forward(1.0))
    at_a_fifth = tree.lookup("base", "eye", SECOND // 10)
    assert at_a_fifth == pytest.approx(turned(6.0) @ forward(1.0))
    assert tree.lookup("base", "eye") == pytest.approx(turned(30.0) @ forward(1.0))
    assert tree.lookup("base", "eye", 0) == pytest.approx(forward(1.0))
    assert tree.lookup("base", "eye", SECOND // 2 + 1) is None  # after the newest sample
    assert tree.lookup("base", "eye", -1) is None
    assert tree.lookup("pan", "eye", -1) == pytest.approx(forward(1.0))  # static at any time
    assert tree.static_transform("base", "eye") is None


def test_nothing_is_interpolated_over_a_long_gap() -> None:
    tree = TransformTree()
    for stamp_ns in (0, MAX_GAP_NS, 2 * MAX_GAP_NS + 1):
        tree.add("base", "pan", np.eye(4), stamp_ns)
    assert tree.lookup("base", "pan", MAX_GAP_NS // 2) is not None
    assert tree.lookup("base", "pan", MAX_GAP_NS + 1) is None
    assert tree.lookup("base", "pan", 2 * MAX_GAP_NS + 1) is not None


def test_sample_of_the_same_stamp_replaces_the_first() -> None:
    tree = TransformTree()
    tree.add("base", "pan", forward(1.0), 5)
    tree.add("base", "pan", forward(2.0), 5)
    assert tree.lookup("base", "pan", 5) == pytest.approx(forward(2.0))


def test_moving_frame_keeps_its_first_parent_and_wins_over_static() -> None:
    tree = TransformTree()
    tree.add("odom", "base", forward(1.0), 1)
    tree.add("map", "base", forward(9.0), 2)
    tree.add("odom", "base", forward(7.0))
    assert tree.lookup("odom", "base") == pytest.approx(forward(1.0))
    assert tree.lookup("map", "base") is None


def test_history_is_bounded() -> None:
    tree = TransformTree(history_ns=10 * SECOND)
    for second in range(30):
        tree.add("base", "pan", forward(second), second * SECOND)
    assert tree.lookup("base", "pan", 18 * SECOND) is None
    assert tree.lookup("base", "pan", 19 * SECOND) == pytest.approx(forward(19))


def test_clock_that_is_set_back_starts_the_edge_again() -> None:
    """A bag that loops: its transforms are taken, although they are older than the newest."""
    tree = TransformTree(history_ns=10 * SECOND)
    tree.add("base", "pan", forward(1.0), 100 * SECOND)
    tree.add("base", "pan", forward(2.0), SECOND)
    assert tree.lookup("base", "pan") == pytest.approx(forward(2.0))


def test_new_parent_is_taken_once_the_old_one_is_outdated() -> None:
    tree = TransformTree(history_ns=10 * SECOND)
    tree.add("a", "tool", forward(1.0), SECOND)
    tree.add("b", "tool", forward(2.0), 2 * SECOND)
    assert tree.lookup("b", "tool") is None
    tree.add("b", "tool", forward(3.0), 12 * SECOND)
    assert tree.lookup("b", "tool") == pytest.approx(forward(3.0))


def test_path_needs_transforms_that_overlap() -> None:
    tree = TransformTree()
    tree.add("world", "odom", forward(1.0), 0)
    tree.add("odom", "base", forward(1.0), 5 * SECOND)
    with pytest.raises(TrajectoryError, match="never overlap"):
        tree.path_of("base", "world")
    tree.add("world", "odom", forward(2.0), 5 * SECOND)
    path = tree.path_of("base", "world")
    assert path.stamps_ns.tolist() == [5 * SECOND]
    assert path.poses[0] == pytest.approx(forward(3.0))


def sample(child: str, stamp_ns: int = 0) -> SimpleNamespace:
    return message("base", child, (0, 0, 0, 1), (1, 0, 0), stamp_ns)


def test_static_frames_beyond_the_limit_are_refused() -> None:
    """Those that were there remain, and may change."""
    tree = TransformTree(10 * SECOND)
    taken = [tree.add_message(sample(f"s{i}"), is_static=True) for i in range(MAX_FRAMES + 5)]
    assert taken == [True] * MAX_FRAMES + [False] * 5
    assert tree.add_message(message("mast", "s0", (0, 0, 0, 1), (0, 0, 0)), is_static=True)
    assert tree.lookup("mast", "s0") is not None and not tree.has_parent(f"s{MAX_FRAMES}")


def test_frame_that_moves_outlasts_a_flood_of_others() -> None:
    tree = TransformTree(10 * SECOND)
    for index in range(10 * MAX_FRAMES):
        tree.add_message(sample(f"m{index}", SECOND), is_static=False)
        if index % 100 == 0:
            tree.add_message(sample("pan", SECOND + index), is_static=False)
    assert len(tree.frames) == MAX_FRAMES + 1  # with base
    assert tree.lookup("base", "pan", SECOND + 10 * MAX_FRAMES - 100) is not None
    assert not tree.has_parent("m0")


def test_samples_are_limited_in_total() -> None:
    tree, reference = TransformTree(10 * SECOND), TransformTree()
    for stamp_ns in range(1, MAX_SAMPLES + 100):
        tree.add_message(sample("pan", stamp_ns), is_static=False)
        reference.add_message(sample("pan", stamp_ns), is_static=False)
    assert tree.lookup("base", "pan", 99) is None
    assert tree.lookup("base", "pan", 101) is not None
    assert reference.lookup("base", "pan", 99) is not None  # of a bag all are kept
    for index in range(MAX_FRAMES - 1):
        tree.add_message(sample(f"m{index}", 1), is_static=False)
    kept = MAX_SAMPLES // MAX_FRAMES
    newest = MAX_SAMPLES + 99
    assert tree.lookup("base", "pan", newest - kept + 1) is not None
    assert tree.lookup("base", "pan", newest - kept) is None
