"""Named frames and the transforms between them over time: one tree for bags, TF and checks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.formats.serialized import header_stamp
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import inverse, is_rotation, rigid_motion, se3_exp, se3_log

MAX_GAP_NS = 1_000_000_000
"""Nothing is interpolated between two samples of a transform that are further apart."""

MAX_FRAMES, MAX_SAMPLES = 1000, 20_000
"""Limits of a tree with a limited history, for each kind of transform: whoever publishes on /tf
must not fill the memory. A robot has some hundred frames."""

_EdgeOf = Callable[[str], "tuple[str, FloatArray] | None"]
"""The parent of a frame and (4, 4) T_parent_frame; None if it has no parent."""


class TransformTree:
    """Transforms between frames, each of which has one parent.

    An edge is static, and holds at any time, or moving: samples with stamps. A frame that has both
    kinds is moving. The newest static transform of a frame replaces the one before; a moving frame
    keeps the parent of its first sample, because two publishers of one child would make it jump.

    Args:
        history_ns: how long samples are kept, counted back from the newest of their edge. A sample
            further away than that, because the clock was set back or the publisher was replaced,
            starts the edge again. None keeps all samples, of any number of frames; else there are
            at most `MAX_FRAMES` static frames, further ones being refused, and as many moving ones
            with `MAX_SAMPLES` samples, of which the oldest are dropped.
    """

    def __init__(self, history_ns: int | None = None) -> None:
        self._history_ns = history_ns
        self._static: dict[str, tuple[str, FloatArray]] = {}
        self._moving: dict[str, _MovingEdge] = {}
        self._room = MAX_SAMPLES

    def add(
        self, parent: str, child: str, T_parent_child: FloatArray, stamp_ns: int | None = None
    ) -> None:
        """Add a (4, 4) transform: static, or the sample of a moving one if it has a stamp.

        One that is not a rigid motion is ignored, as tf2 does: it would turn every pose that is
        derived from it into NaN.
        """
        T = np.asarray(T_parent_child, dtype=np.float64)
        if np.all(np.isfinite(T)) and is_rotation(T[:3, :3]):
            self._insert(_name(parent), _name(child), T, stamp_ns)

    def add_message(self, message: Any, is_static: bool) -> bool:
        """Add a geometry_msgs/TransformStamped, decoded by rclpy or by rosbags, as :meth:`add`.

        False if it is not a rigid motion, or there is no room for a further static frame.
        """
        q, t = message.transform.rotation, message.transform.translation
        T_parent_child = rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])
        if T_parent_child is None:
            return False
        frames = _name(message.header.frame_id), _name(message.child_frame_id)
        stamp_ns = None if is_static else header_stamp(message)
        return self._insert(*frames, T_parent_child, stamp_ns)

    def _insert(self, parent: str, child: str, T: FloatArray, stamp_ns: int | None) -> bool:
        if stamp_ns is not None:
            self._insert_moving(parent, child, T, stamp_ns)
            return True
        is_full = self._history_ns is not None and len(self._static) >= MAX_FRAMES
        if is_full and child not in self._static:
            return False
        self._static[child] = (parent, T)
        return True

    def _insert_moving(self, parent: str, child: str, T: FloatArray, stamp_ns: int) -> None:
        edge = self._moving.get(child)
        if edge is None or self._is_outdated(edge, stamp_ns):
            edge = self._moving[child] = _MovingEdge(parent)
        if edge.parent == parent:
            edge.add(stamp_ns, T)
            if self._history_ns is not None:
                edge.forget_before(edge.newest_ns - self._history_ns)
                self._limit(child)

    def _limit(self, child: str) -> None:
        """Drop the frame that was not moved for longest, and the oldest samples, if too many."""
        edge = self._moving[child] = self._moving.pop(child)  # in order of the last sample
        if len(self._moving) > MAX_FRAMES:
            del self._moving[next(iter(self._moving))]
        before, self._room = self._room, MAX_SAMPLES // len(self._moving)
        for each in self._moving.values() if self._room < before else (edge,):
            each.keep_newest(self._room)

    def _is_outdated(self, edge: _MovingEdge, stamp_ns: int) -> bool:
        return self._history_ns is not None and (abs(stamp_ns - edge.newest_ns) > self._history_ns)

    @property
    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        return sorted({name for edge in self._parents().items() for name in edge})

    def has_parent(self, frame: str) -> bool:
        """Whether there is a transform to this frame."""
        name = _name(frame)
        return name in self._moving or name in self._static

    def lookup(self, to: str, from_: str, stamp_ns: int | None = None) -> FloatArray | None:
        """(4, 4) T_to_from at a time, or of the newest samples.

        None if the frames are not connected, or a transform between them is not known at that
        time: before its first sample, after its last, or in a gap longer than `MAX_GAP_NS`.
        """

        def edge_of(frame: str) -> tuple[str, FloatArray] | None:
            if frame not in self._moving:
                return self._static.get(frame)
            edge = self._moving[frame]
            T_parent_child = edge.at(stamp_ns)
            return None if T_parent_child is None else (edge.parent, T_parent_child)

        return _connect(edge_of, to, from_)

    def static_transform(self, to: str, from_: str) -> FloatArray | None:
        """(4, 4) T_to_from over static transforms only; None if these do not connect them."""
        return _connect(self._static.get, to, from_)

    def path_of(self, frame: str, fixed: str) -> Trajectory:
        """T_fixed_frame over time, at the stamps of the transform that is sampled most often.

        Raises:
            SourceError: ``fixed`` is not above ``frame``, or nothing between them moves.
            TrajectoryError: the transforms between them are never known at the same time.
        """
        chain = self._chain(_name(frame), _name(fixed))
        moving = [self._moving[name] for name in chain if name in self._moving]
        if not moving:
            raise SourceError(
                f"nothing on /tf moves between '{fixed}' and '{frame}'; name the fixed frame in "
                "which the camera's ground-truth trajectory is known"
            )
        stamps_ns = max((edge.stamps_ns for edge in moving), key=len)
        poses = {stamp_ns: self.lookup(fixed, frame, stamp_ns) for stamp_ns in stamps_ns}
        known = {stamp_ns: T for stamp_ns, T in poses.items() if T is not None}
        if not known:
            raise TrajectoryError(f"the transforms from '{frame}' to '{fixed}' never overlap")
        return Trajectory.of(known)

    def _chain(self, frame: str, fixed: str) -> list[str]:
        """The frames from ``frame`` up to, but without, ``fixed``."""
        parents, chain = self._parents(), [frame]
        while chain[-1] != fixed:
            parent = parents.get(chain[-1])
            if parent is None or parent in chain:
                raise SourceError(
                    f"the transforms lead from '{frame}' up to '{chain[-1]}', not to '{fixed}'; "
                    f"there are the frames {', '.join(self.frames) or 'none'}"
                )
            chain.append(parent)
        return chain[:-1]

    def _parents(self) -> dict[str, str]:
        static = {child: parent for child, (parent, _) in self._static.items()}
        return {**static, **{child: edge.parent for child, edge in self._moving.items()}}


class _MovingEdge:
    """The samples of a transform that moves, in order of time."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.stamps_ns: list[int] = []
        self._transforms: list[FloatArray] = []

    @property
    def newest_ns(self) -> int:
        return self.stamps_ns[-1]

    def add(self, stamp_ns: int, T_parent_child: FloatArray) -> None:
        """Add a sample; it replaces one of the same stamp."""
        index = bisect_left(self.stamps_ns, stamp_ns)
        replaced = self.stamps_ns[index : index + 1] == [stamp_ns]
        self.stamps_ns[index : index + replaced] = [stamp_ns]
        self._transforms[index : index + replaced] = [T_parent_child]

    def forget_before(self, stamp_ns: int) -> None:
        count = bisect_left(self.stamps_ns, stamp_ns)
        del self.stamps_ns[:count], self._transforms[:count]

    def keep_newest(self, count: int) -> None:
        if len(self.stamps_ns) > count:
            del self.stamps_ns[:-count], self._transforms[:-count]

    def at(self, stamp_ns: int | None) -> FloatArray | None:
        """(4, 4) T_parent_child at a time or, without one, of the newest sample."""
        if stamp_ns is None:
            return self._transforms[-1]
        after = bisect_left(self.stamps_ns, stamp_ns)
        if self.stamps_ns[after : after + 1] == [stamp_ns]:
            return self._transforms[after]
        if not 0 < after < len(self.stamps_ns):
            return None
        before_ns, after_ns = self.stamps_ns[after - 1 : after + 1]
        if after_ns - before_ns > MAX_GAP_NS:
            return None
        T_a, T_b = self._transforms[after - 1 : after + 1]
        ratio = (stamp_ns - before_ns) / (after_ns - before_ns)
        return T_a @ se3_exp(ratio * se3_log(inverse(T_a) @ T_b))


def _name(frame: str) -> str:
    """The name as TF 2 has it; ROS 1 put a slash before it."""
    return str(frame).lstrip("/")


def _connect(edge_of: _EdgeOf, to: str, from_: str) -> FloatArray | None:
    """T_to_from through the nearest frame above both; None if there is none."""
    above_to = dict(_ancestors(edge_of, _name(to)))
    for ancestor, T_ancestor_from in _ancestors(edge_of, _name(from_)):
        if ancestor in above_to:
            return inverse(above_to[ancestor]) @ T_ancestor_from
    return None


def _ancestors(edge_of: _EdgeOf, frame: str) -> Iterator[tuple[str, FloatArray]]:
    """Each frame from ``frame`` upwards with T_ancestor_frame; a cycle ends the walk."""
    T_ancestor_frame, visited = np.eye(4), set[str]()
    while frame not in visited:
        yield frame, T_ancestor_frame
        visited.add(frame)
        edge = edge_of(frame)
        if edge is None:
            return
        frame, T_parent_child = edge
        T_ancestor_frame = T_parent_child @ T_ancestor_frame
