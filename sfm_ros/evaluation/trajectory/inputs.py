"""Trajectories as a command line names them: a TUM or KITTI file, or a topic of a bag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfm_ros.bags.pose_messages import POSE_TYPES, pose_of, stamp_of
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.storage import storage_suffix
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.trajectory.association import (
    DEFAULT_MAX_DIFFERENCE_NS,
    Pairs,
    pair_by_index,
    pair_by_stamp,
)
from sfm_ros.formats.trajectory import Indices, Trajectory
from sfm_ros.formats.trajectory_files import read_pose_file
from sfm_ros.geometry import body_to_optical
from sfm_ros.sources.timestamps import read_times

ASSOCIATIONS = ("auto", "stamp", "index")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrajectoryInput:
    """A trajectory that was read, with its timing.

    Attributes:
        name: as given.
        kind: that of the file, see `PoseFile`, or ``bag``.
        trajectory: T_world_camera.
        is_timed: whether the stamps are times; otherwise they only count frames.
        frames: (N,) frame index of each pose; None if the file has none.
        remarks: what was unusual about it, a sentence each.
        unreadable: poses that a bag lists and that could not be read.
    """

    name: str
    kind: str
    trajectory: Trajectory
    is_timed: bool
    frames: Indices | None = None
    remarks: tuple[str, ...] = ()
    unreadable: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {len(self.trajectory)} poses)"


def open_trajectory(
    name: str,
    times: Path | None = None,
    fps: float | None = None,
    keep_axes: bool = False,
    columns: str | None = None,
) -> TrajectoryInput:
    """Read a trajectory.

    Args:
        name: a file, see `read_pose_file`; or a bag with its topic after a colon,
            ``drive.mcap:/ground_truth/odometry`` (the topic may be omitted if the bag has only one
            topic of poses).
        times: file with the time of each frame of the sequence, for files without times.
        fps: frames per second, for such files, instead of ``times``.
        keep_axes: keep the axes of a bag's poses. By default they are assumed to be body axes
            (x forward, y left, z up: REP 103) and converted to optical axes (x right, y down,
            z forward), which KITTI files and the files of this package use. So are the axes of
            TartanAir's files.
        columns: of a file without a header, see `read_pose_file`.

    Raises:
        TrajectoryError, SourceError: the input is missing, damaged, or its poses are invalid.
    """
    path, topic = _split(name)
    if topic is not None or path.is_dir() or storage_suffix(path):
        return _open_bag(name, BagFile(path), topic, keep_axes)
    found = read_pose_file(path, columns)
    trajectory, gives_times = found.trajectory, times is not None or fps is not None
    remarks = found.remarks
    if gives_times and not found.is_timed:
        stamps_ns, about_times = (None, ()) if times is None else read_times(times)
        remarks += about_times
        trajectory = found.timed(stamps_ns, 1.0 if fps is None else fps)
    return TrajectoryInput(
        name=name,
        kind=found.kind,
        trajectory=trajectory,
        is_timed=found.is_timed or gives_times,
        frames=found.frames,
        remarks=remarks,
    )


def _split(name: str) -> tuple[Path, str | None]:
    """The path, and the topic after it, or None."""
    path, mark, topic = name.rpartition(":")
    if Path(name).exists() or not mark or not (topic.startswith("/") or Path(path).exists()):
        return Path(name), None
    return Path(path), topic


def _open_bag(name: str, bag: BagFile, topic: str | None, keep_axes: bool) -> TrajectoryInput:
    offered = [t for t, (kind, _) in bag.topics.items() if kind in POSE_TYPES]
    if topic is None and len(offered) == 1:
        topic = offered[0]
    topic = topic and bag.named(topic)
    if topic not in offered:
        found = "no topic is named" if topic is None else f"{topic} is not among them"
        raise SourceError(
            f"{name}: expected a topic of poses after a colon, such as drive.mcap:/odometry; the "
            f"bag has {', '.join(sorted(offered)) or 'none'}, and {found}"
        )
    records = [(stamp_of(record), pose_of(record)) for record in bag.records([topic])]
    unreadable = max(bag.topics[topic][1] - len(records), 0)
    remarks = bag.remarks
    if unreadable:
        listed = bag.topics[topic][1]
        remarks += (f"{name}: {unreadable} of {listed} poses are listed and cannot be found",)
    if not records:
        raise SourceError(f"{name}: no pose can be read; {'; '.join(remarks)}")
    poses = np.stack([pose for _, pose in records])
    try:
        trajectory = Trajectory(
            np.array([stamp for stamp, _ in records], dtype=np.int64),
            poses if keep_axes else body_to_optical(poses),
        )
    except TrajectoryError as error:
        raise TrajectoryError(f"{name}: {error}") from None
    return TrajectoryInput(
        name=name,
        kind="bag",
        trajectory=trajectory,
        is_timed=True,
        remarks=remarks,
        unreadable=unreadable,
    )


def pair_inputs(
    ground_truth: TrajectoryInput,
    estimate: TrajectoryInput,
    associate: str = "auto",
    max_difference_ns: int = DEFAULT_MAX_DIFFERENCE_NS,
) -> Pairs:
    """Pair the poses of two inputs.

    ``associate`` is ``stamp`` (not more than the maximum apart), ``index``, or ``auto``: by stamp
    if both are timed, by index if neither is.

    Raises:
        TrajectoryError: fewer than two pairs, or only one of the inputs has times.
    """
    timed = (ground_truth.is_timed, estimate.is_timed)
    if associate == "index" or (associate == "auto" and not any(timed)):
        return pair_by_index(
            estimate.trajectory, ground_truth.trajectory, estimate.frames, ground_truth.frames
        )
    if not all(timed):
        lacking = " and ".join(i.name for i in (ground_truth, estimate) if not i.is_timed)
        raise TrajectoryError(
            f"{lacking} has no times to pair poses by; pass --times FILE or --fps N, or pair with "
            "--associate index"
        )
    return pair_by_stamp(estimate.trajectory, ground_truth.trajectory, max_difference_ns)
