"""sfm_ground_truth_path: alignment with the odometry, and the search for the nearest pose."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from rig.probe import Probe, Program

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry, Path
from rig.camera import PERIOD_NS

from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.ros.conversions import pose_message, stamp_from_ns
from sfm_ros.ros.tools.ground_truth_path import nearest, usable_pose

BEGIN_NS = 1_700_000_000_000_000_000


def odometry(index: int, T: np.ndarray, frame: str, child: str) -> Odometry:
    message = Odometry(child_frame_id=child)
    message.header.frame_id = frame
    message.header.stamp = stamp_from_ns(BEGIN_NS + index * PERIOD_NS)
    message.pose.pose = pose_message(T)
    return message


def test_ground_truth_is_aligned_at_the_first_common_image(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    """The ground truth moves north (+y) far from its origin, the odometry along its own x."""
    program = start([sys.executable, "-m", "sfm_ros.ros.tools.ground_truth_path"])
    paths = probe.listen("/sfm_ground_truth/path", Path)
    north = so3_exp(np.array([0, 0, math.pi / 2]))

    def play_ground_truth(first: int, index: int) -> None:
        true = make_transform(north, [500.0, 300.0 + index, 0.0])
        probe.publish("/ground_truth", odometry(first + index, true, "world", "car"))

    def play(first: int, count: int) -> None:
        for index in range(count):
            play_ground_truth(first, index)
            if index >= 2:
                estimate = make_transform(np.eye(3), [2.0 + 0.9 * (index - 2), 0.0, 0.0])
                probe.publish("/odometry", odometry(first + index, estimate, "odom", "car"))
        time.sleep(pause_s)

    def is_published() -> bool:
        play(1000, 5)
        return bool(paths)

    def complete() -> Path | None:
        """Play a bag that loops, again until no best-effort message is lost."""
        play(0, 31)
        play_ground_truth(0, 30)
        time.sleep(pause_s)
        return next((path for path in paths if len(path.poses) == 32), None)

    pause_s = 0.6  # a path is published every half second; too fast a player loses messages
    program.wait_until(is_published, "a path")
    path = program.wait_until(complete, "the complete path")
    assert path.header.frame_id == "odom"
    points = [(p.pose.position.x, p.pose.position.y) for p in path.poses]
    # Aligned at the third image, or at a later one if that message was overtaken.
    begin = points[0][0]
    assert any(begin == pytest.approx(-0.1 * late, abs=1e-6) for late in range(20))
    assert np.diff(points[:30], axis=0) == pytest.approx(np.tile([1.0, 0.0], (29, 1)), abs=1e-6)
    assert points[0][1] == pytest.approx(0.0, abs=1e-6)
    assert program.end(signal.SIGINT) == 0


class CountedAccess(list):
    """Counts reads of single items and refuses iteration."""

    reads = 0

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:  # type: ignore[override]
        self.reads += 1
        return super().__getitem__(index)

    def __iter__(self) -> None:  # type: ignore[override]
        raise AssertionError("every item was read")


def test_nearest_pose_by_bisection() -> None:
    stamps = np.cumsum(np.random.default_rng(0).integers(0, 5, 5000)).tolist()
    entries = CountedAccess((stamp, np.eye(4)) for stamp in stamps)
    queries = range(-3, stamps[-1] + 4, 97)
    for stamp in queries:
        found = nearest(entries, stamp)
        assert found is not None
        assert abs(found[0] - stamp) == min(abs(s - stamp) for s in stamps)
    assert entries.reads < 20 * len(queries)
    assert nearest([], 0) is None


@pytest.mark.parametrize("name", ["x" * 5_000_000, "odom\x1b[2J"])
def test_messages_with_frames_of_no_name_are_ignored(name: str) -> None:
    good = Odometry(child_frame_id="base_link")
    good.pose.pose = pose_message(make_transform(so3_exp([0, 0, 0.5]), [1.0, 2.0, 3.0]))
    child = Odometry(child_frame_id=name, pose=good.pose)
    parent = Odometry(pose=good.pose)
    parent.header.frame_id = name
    assert usable_pose(good) is not None
    assert usable_pose(child) is None and usable_pose(parent) is None
