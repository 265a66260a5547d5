"""The interface of a source of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from sfm_ros.datatypes import DepthMap, FloatArray, Frame


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceItem:
    """A frame with its ground truth, if there is any.

    Attributes:
        frame: image, stamp and calibration.
        T_world_camera: (4, 4) pose of the optical camera frame in a fixed frame, meters, or None.
        depth_m: (H, W) float32 meters along +z on the image grid, 0 or NaN if unknown, or None.
        speed_m_s: speed of the camera at that time, meters per second, or None.
    """

    frame: Frame
    T_world_camera: FloatArray | None = None
    depth_m: DepthMap | None = None
    speed_m_s: float | None = None


class Source(Protocol):
    """A finite sequence of frames, ordered by time."""

    name: str

    def __len__(self) -> int:
        """Number of frames."""

    def __iter__(self) -> Iterator[SourceItem]:
        """The frames in order, decoded one at a time."""


def remarks_of(source: Source) -> tuple[str, ...]:
    """What was unusual about a source so far, a sentence each, for people."""
    return tuple(getattr(source, "remarks", ()))


def unreadable_of(source: Source) -> int:
    """Frames that a source lists and could not read, in its latest iteration so far."""
    return int(getattr(source, "unreadable", 0))


def damaged_of(source: Source) -> int:
    """Those of `unreadable_of` that are there and could not be decoded; the others are missing."""
    return int(getattr(source, "damaged", 0))


Deferred: TypeAlias = "Callable[[], SourceItem | None]"
"""Decodes one frame; None if its image is damaged and the source skips damaged images."""


def deferred(source: Source) -> Iterator[Deferred]:
    """The frames as calls that decode them, in any thread or not at all.

    A source that can only decode in order (a video) has decoded the frame already.
    """
    make = getattr(source, "deferred", None)
    if make is not None:
        yield from make()
        return
    for item in source:
        yield partial(_identity, item)


def _identity(item: SourceItem) -> SourceItem:
    return item
