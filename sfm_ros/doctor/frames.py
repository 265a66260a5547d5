"""The tree of transforms: one parent per frame, no cycle, and the camera's extrinsics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.datatypes import OPTICAL_FRAME, FloatArray
from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Edge
from sfm_ros.doctor.start import start_of
from sfm_ros.geometry import MAX_POSITION_M, is_rotation

_DOWN_OR_UP = 0.9


def check_tree(edges: Sequence[Edge]) -> list[Finding]:
    """Whether the transforms form a tree of valid transforms."""
    if not edges:
        advice = (
            "without extrinsics the odometry is that of the camera itself: start "
            f"robot_state_publisher or {start_of('sfm_static_transform')}"
        )
        return [warn("tf", "no transform was received", advice)]
    checks = (_check_parents, _check_cycles, _check_values, _check_slashes, _check_kinds)
    found = [finding for check in checks for finding in check(edges)]
    frames = sorted({name for e in edges for name in _names(e)})
    return found or [ok("tf", f"{len(frames)} frames: {', '.join(frames)}")]


def _names(edge: Edge) -> tuple[str, str]:
    return edge.parent.lstrip("/"), edge.child.lstrip("/")


def _parents(edges: Sequence[Edge]) -> dict[str, set[str]]:
    parents: dict[str, set[str]] = {}
    for edge in edges:
        parent, child = _names(edge)
        parents.setdefault(child, set()).add(parent)
    return parents


def _check_parents(edges: Sequence[Edge]) -> Iterator[Finding]:
    for child, parents in sorted(_parents(edges).items()):
        if len(parents) > 1:
            yield fail(
                "tf",
                f"'{child}' has {len(parents)} parents: {', '.join(sorted(parents))}",
                "a frame has one parent: stop one of the publishers (of two odometries, set "
                "node.publish_tf to false on one)",
            )


def _check_cycles(edges: Sequence[Edge]) -> Iterator[Finding]:
    parents = {child: min(names) for child, names in _parents(edges).items()}
    for start in sorted(parents):
        chain, frame = [start], start
        while frame in parents and parents[frame] not in chain:
            frame = parents[frame]
            chain.append(frame)
        if parents.get(frame) == start and start == min(chain):
            yield fail("tf", f"a cycle: {' -> '.join([*chain, start])}", "stop one publisher")


def _check_values(edges: Sequence[Edge]) -> Iterator[Finding]:
    for edge in edges:
        T = edge.T_parent_child
        if not (np.all(np.isfinite(T)) and is_rotation(T[:3, :3], tolerance=1e-3)):
            yield fail(
                "tf",
                f"the transform {edge.parent} -> {edge.child} is no rigid motion",
                "its quaternion is zero, a number is not finite, or its translation is beyond "
                f"{MAX_POSITION_M:g} m: fix its publisher",
            )
            return


def _check_slashes(edges: Sequence[Edge]) -> Iterator[Finding]:
    names = sorted({n for e in edges for n in (e.parent, e.child) if n.startswith("/")})
    if names:
        yield warn("tf", f"'{names[0]}' begins with a slash", "tf2 names have none: remove it")


def _check_kinds(edges: Sequence[Edge]) -> Iterator[Finding]:
    static = {_names(edge)[1] for edge in edges if edge.is_static}
    moving = {_names(edge)[1] for edge in edges if not edge.is_static}
    for child in sorted(static & moving):
        found = f"'{child}' is both on /tf and on /tf_static"
        yield fail("tf", found, "stop one of the two publishers")


def check_extrinsics(edges: Sequence[Edge], base: str, optical: str) -> Iterator[Finding]:
    """Whether TF connects the robot's frame with the camera's optical frame, and turns its axes.

    Args:
        edges: the received transforms.
        base: ``node.base_frame``; empty for none.
        optical: frame id of the images.
    """
    check = f"extrinsics of '{optical}'"
    if not optical:
        yield warn(
            "frame id of the images",
            f"it is empty; the node uses '{OPTICAL_FRAME}'",
            "set frame_id in the camera's driver: TF cannot locate the camera without it",
        )
    elif base and base != optical.lstrip("/"):
        T_base_optical = _find_transform(edges, base, optical.lstrip("/"))
        if T_base_optical is not None:
            yield _check_axes(check, base, T_base_optical)
            return
        yield warn(
            check,
            f"TF does not connect it with '{base}'",
            "the odometry will be that of the camera itself; for the robot's, publish the "
            f"extrinsics: {start_of('sfm_static_transform')} --parent {base} --child {optical} "
            "--xyz X Y Z --rpy ROLL PITCH YAW --optical",
        )


def _check_axes(check: str, base: str, T_base_optical: FloatArray) -> Finding:
    """A camera whose z axis points up or down has body axes instead of optical ones."""
    R = T_base_optical[:3, :3]
    view, x, y, z = R[:, 2], *T_base_optical[:3, 3]
    position = f"at ({x:.2f}, {y:.2f}, {z:.2f}) m in '{base}'"
    if abs(view[2]) > _DOWN_OR_UP:
        return fail(
            check,
            f"{position}, and its z axis points {'up' if view[2] > 0 else 'down'}",
            "images have optical axes (x right, y down, z forward: REP 103). If the camera "
            "faces ahead, the rotation to the optical frame is missing: quaternion xyzw "
            "-0.5 0.5 -0.5 0.5 below the camera's body frame",
        )
    heading = float(np.degrees(np.arctan2(view[1], view[0])))
    return ok(check, f"{position}, facing {heading:.0f} degrees left of ahead")


def _find_transform(edges: Sequence[Edge], to: str, from_: str) -> FloatArray | None:
    """(4, 4) T_to_from over the newest transforms, or None if they do not connect the frames."""
    tree = TransformTree()
    for order, edge in enumerate(edges):
        stamp_ns = None if edge.is_static else order
        tree.add(edge.parent, edge.child, edge.T_parent_child, stamp_ns)
    return tree.lookup(to, from_)
