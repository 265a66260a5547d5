"""Depth in the messages of a bag: depth images and point clouds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap
from sfm_ros.errors import SourceError

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
_MILLIMETERS = 1000.0
_KINDS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_FLOAT32, _FLOAT64 = 7, 8


def depth_image(message: Any, topic: str) -> DepthMap:
    """(H, W) float32 meters of a sensor_msgs/Image of depth (REP 118), 0 or NaN if unknown.

    Raises:
        SourceError: another encoding, or a size that contradicts the data.
    """
    kind = check_depth_encoding(message, topic)
    data = np.asarray(message.data, dtype=np.uint8)
    row_bytes = message.width * int(kind[1])
    if message.step < row_bytes or data.size < message.step * message.height:
        raise SourceError(
            f"a depth image on {topic} of {message.width}x{message.height} with step "
            f"{message.step} holds {data.size} bytes; the message contradicts itself"
        )
    rows = data[: message.step * message.height].reshape(message.height, message.step)
    order = ">" if message.is_bigendian else "<"
    values = np.ascontiguousarray(rows[:, :row_bytes]).view(order + kind)
    return (values / _MILLIMETERS if kind == "u2" else values).astype(np.float32)


def check_depth_encoding(message: Any, topic: str) -> str:
    """The numpy kind of a depth image's values, ``u2`` or ``f4``; SourceError if another."""
    kind = _KINDS.get(message.encoding)
    if kind is None:
        raise SourceError(
            f"the depth on {topic} has the encoding '{message.encoding}', expected 16UC1 "
            "(millimeters) or 32FC1 (meters)"
        )
    return kind


def cloud_points(message: Any, topic: str) -> npt.NDArray[np.float64]:
    """(N, 3) finite points of a sensor_msgs/PointCloud2, in the cloud's frame.

    Raises:
        SourceError: no x, y and z of one float type, or a size that contradicts the data.
    """
    layout = _cloud_layout(message, topic)
    count = message.width * message.height
    data = np.ascontiguousarray(message.data, dtype=np.uint8)
    if message.row_step != message.width * message.point_step or data.size < (
        count * message.point_step
    ):
        raise SourceError(
            f"a cloud on {topic} of {count} points of {message.point_step} bytes holds "
            f"{data.size}; the message contradicts itself, or its rows are padded"
        )
    rows = data[: count * message.point_step].view(layout)
    points = np.stack([rows[name] for name in "xyz"], axis=1).astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def _cloud_layout(message: Any, topic: str) -> np.dtype:
    """x, y and z of one point as a numpy record."""
    fields = {field.name: field for field in message.fields}
    kinds = {fields[name].datatype for name in "xyz" if name in fields}
    if not {"x", "y", "z"} <= set(fields) or kinds not in ({_FLOAT32}, {_FLOAT64}):
        raise SourceError(
            f"the cloud on {topic} has the fields {', '.join(fields) or 'none'}, expected x, y "
            "and z as float32 or float64"
        )
    order = ">" if message.is_bigendian else "<"
    try:
        return np.dtype(
            {
                "names": ["x", "y", "z"],
                "formats": [order + ("f4" if kinds == {_FLOAT32} else "f8")] * 3,
                "offsets": [fields[name].offset for name in "xyz"],
                "itemsize": message.point_step,
            }
        )
    except ValueError as error:
        raise SourceError(
            f"the cloud on {topic} has x, y and z outside of its {message.point_step} bytes per "
            f"point: {error}"
        ) from error
