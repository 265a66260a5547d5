"""What every source of frames offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from sfm_ros.datatypes import DepthMap, FloatArray, Frame


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceItem:
    """A frame with the ground truth about it, where there is any.

    Attributes:
        frame: image, stamp and calibration.
        T_world_camera: (4, 4) pose of the optical camera frame in a fixed frame, meters; or None.
        depth_m: (H, W) float32 meters along +z on the grid of the image, 0 or NaN where unknown;
            or None.
        speed_m_s: speed of the camera at that moment, meters per second; or None.
    """

    frame: Frame
    T_world_camera: FloatArray | None = None
    depth_m: DepthMap | None = None
    speed_m_s: float | None = None


class Source(Protocol):
    """A finite sequence of frames in order of time."""

    name: str

    def __len__(self) -> int:
        """How many frames there are."""

    def __iter__(self) -> Iterator[SourceItem]:
        """The frames, in order of time, decoded one at a time."""


Deferred: TypeAlias = "Callable[[], SourceItem | None]"
"""Decodes one frame; None where its image cannot be decoded and the source skips such."""


def deferred(source: Source) -> Iterator[Deferred]:
    """The frames as calls that decode them: in any thread, or never.

    A source that can only decode in order (a video) has done so when it gives its call.
    """
    make = getattr(source, "deferred", None)
    if make is not None:
        yield from make()
        return
    for item in source:
        yield partial(_given, item)


def _given(item: SourceItem) -> SourceItem:
    return item
