"""The kinds of recordings that can be opened as a source of frames; add a kind here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sfm_ros.bags.storage import is_bag
from sfm_ros.errors import SourceError
from sfm_ros.formats.calibration import EXPECTED
from sfm_ros.source import Source
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.kitti.source import is_kitti, open_kitti
from sfm_ros.sources.video import VideoSource


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of recording.

    Attributes:
        open: takes the path and, by keyword, the options of this kind.
        recognizes: whether a path looks like this kind, if no kind before it does.
        description: for the help of a command.
    """

    open: Callable[..., Source]
    recognizes: Callable[[Path], bool]
    description: str


KINDS = {
    "bag": SourceKind(BagSource, is_bag, "ROS 1 or ROS 2 bag"),
    "kitti": SourceKind(open_kitti, is_kitti, "KITTI odometry sequence or raw drive"),
    "video": SourceKind(VideoSource, Path.is_file, "video file; needs --calib"),
    "images": SourceKind(FolderSource, Path.is_dir, "folder of images; needs --calib"),
}
_EXPECTED = {"calib": EXPECTED}


def recognize(path: Path) -> str:
    """The kind of what is at a path; SourceError if there is nothing."""
    for kind, entry in KINDS.items():
        if entry.recognizes(path):
            return kind
    raise SourceError(f"there is no {path}")


def open_source(
    kind: str, path: str | Path, common: Mapping[str, object] | None = None, **options: object
) -> Source:
    """Open a recording of one of `KINDS`.

    Args:
        kind: its kind.
        path: where it is.
        common: keyword arguments that a kind ignores if it does not have them.
        options: keyword arguments of the kind's ``open``, such as ``calib`` of a video. None means
            "not given", so that a command may pass all its options.

    Raises:
        SourceError: an option is missing or belongs to another kind, or the recording cannot be
            read.
        CalibrationError, TrajectoryError: see the sources.
    """
    opener = KINDS[kind].open
    known = dict(list(inspect.signature(opener).parameters.items())[1:])
    shared = {name: value for name, value in (common or {}).items() if name in known}
    given = {n: value for n, value in (shared | options).items() if value is not None}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SourceError(
            f"{kind} has no option {', '.join(unknown)}, expected some of {', '.join(known)}"
        )
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise SourceError(f"{kind} needs {name}: {_EXPECTED[name]}")
    return opener(path, **given)
