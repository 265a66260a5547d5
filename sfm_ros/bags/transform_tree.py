"""The transforms recorded in a bag, and the path of one frame in another."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfm_ros.bags.reader import BagFile
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.formats.trajectory import Stamps, Trajectory
from sfm_ros.geometry import inverse, rigid_motion, se3_exp, se3_log

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_STATIC = "tf_static"
MAX_GAP_NS = 1_000_000_000
"""Between two samples of a transform further apart nothing is interpolated."""


class TransformTree:
    """Every transform of a bag's ``/tf`` and ``/tf_static``: each frame has one parent."""

    def __init__(self, bag: BagFile, with_moving: bool) -> None:
        """Read the transforms.

        Args:
            bag: the bag.
            with_moving: read ``/tf`` too, not only ``/tf_static``.

        Raises:
            SourceError: the bag is damaged.
        """
        self._static: dict[str, tuple[str, FloatArray]] = {}
        self._moving: dict[str, tuple[str, dict[int, FloatArray]]] = {}
        topics = [
            name
            for name, (kind, _) in bag.topics.items()
            if kind in TF_TYPES and (with_moving or name.endswith(_STATIC))
        ]
        for record in bag.records(topics) if topics else ():
            for entry in record.message.transforms:
                self._take(entry, record.topic.endswith(_STATIC))

    def _take(self, entry: Any, is_static: bool) -> None:
        parent, child = (
            str(name).lstrip("/") for name in (entry.header.frame_id, entry.child_frame_id)
        )
        q, t = entry.transform.rotation, entry.transform.translation
        T_parent_child = rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])
        if T_parent_child is None:
            return  # passed over, as tf2 and the node do
        if is_static:
            self._static[child] = (parent, T_parent_child)
            return
        stamp = entry.header.stamp
        stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        known_parent, samples = self._moving.setdefault(child, (parent, {}))
        if known_parent == parent:
            samples[stamp_ns] = T_parent_child

    @property
    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        named = {name for child, (parent, _) in self._edges().items() for name in (child, parent)}
        return sorted(named)

    def _edges(self) -> dict[str, tuple[str, Any]]:
        return {**self._static, **self._moving}

    def static_transform(self, to: str, from_: str) -> FloatArray | None:
        """(4, 4) T_to_from over transforms that never change; None where they do not connect."""
        to, from_ = to.lstrip("/"), from_.lstrip("/")
        mine, its = self._static_ancestors(from_), self._static_ancestors(to)
        for ancestor, T_ancestor_from in mine.items():
            if ancestor in its:
                return inverse(its[ancestor]) @ T_ancestor_from
        return None

    def _static_ancestors(self, frame: str) -> dict[str, FloatArray]:
        """T_ancestor_frame of the frame itself and all above it, nearest first."""
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._static:
            frame, T_parent_child = self._static[frame]
            if frame in found:
                break  # a damaged tree that bites its tail
            T = T_parent_child @ T
            found[frame] = T
        return found

    def path_of(self, frame: str, fixed: str) -> Trajectory:
        """T_fixed_frame over time, at the stamps of the transform that is sampled most often.

        Raises:
            SourceError: the two are not connected, or nothing between them moves.
            TrajectoryError: a transform is not finite.
        """
        edges = self._chain(frame.lstrip("/"), fixed.lstrip("/"))
        sampled: list[dict[int, FloatArray]] = [s for _, s in edges if isinstance(s, dict)]
        if not sampled:
            raise SourceError(
                f"nothing on /tf moves between '{fixed}' and '{frame}'; name the fixed frame in "
                "which the camera's ground-truth trajectory is known"
            )
        busiest = max(sampled, key=len)
        stamps = np.array(sorted(busiest), dtype=np.int64)
        poses, known = np.tile(np.eye(4), (len(stamps), 1, 1)), np.ones(len(stamps), dtype=bool)
        for _, entry in edges:
            if isinstance(entry, dict):
                at_stamps, covered = _interpolated(entry, stamps)
                poses, known = at_stamps @ poses, known & covered
            else:
                poses = entry @ poses
        if not known.any():
            raise TrajectoryError(f"the transforms from '{frame}' to '{fixed}' never overlap")
        return Trajectory(stamps[known], poses[known])

    def _chain(self, frame: str, fixed: str) -> list[tuple[str, Any]]:
        edges, seen, known = [], [frame], self._edges()
        while frame != fixed:
            if frame not in known or known[frame][0] in seen:
                raise SourceError(
                    f"the bag's transforms lead from '{seen[0]}' up to '{frame}', not to "
                    f"'{fixed}'; it has the frames {', '.join(self.frames) or 'none'}"
                )
            edges.append((frame, known[frame][1]))
            frame = known[frame][0]
            seen.append(frame)
        return edges


def _interpolated(
    samples: dict[int, FloatArray], wanted: Stamps
) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
    """(N, 4, 4) at the wanted stamps, and where these lie between samples near enough."""
    stamps = np.array(sorted(samples), dtype=np.int64)
    result, covered = np.tile(np.eye(4), (len(wanted), 1, 1)), np.zeros(len(wanted), dtype=bool)
    for row, stamp in enumerate(wanted.tolist()):
        if stamp in samples:
            result[row], covered[row] = samples[stamp], True
            continue
        after = int(np.searchsorted(stamps, stamp))
        if not 0 < after < len(stamps) or stamps[after] - stamps[after - 1] > MAX_GAP_NS:
            continue
        before_ns, after_ns = int(stamps[after - 1]), int(stamps[after])
        T_a, T_b = samples[before_ns], samples[after_ns]
        share = (stamp - before_ns) / (after_ns - before_ns)
        result[row] = T_a @ se3_exp(share * se3_log(inverse(T_a) @ T_b))
        covered[row] = True
    return result, covered
