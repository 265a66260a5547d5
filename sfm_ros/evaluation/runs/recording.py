"""The recording of an online run as files: written during the run, read after it.

A recording is a folder. ``images.csv`` and ``odometry.csv`` grow line by line, so that an
interrupted run keeps everything until then; some images and depth maps are beside them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage
from sfm_ros.errors import OutputError
from sfm_ros.geometry import body_to_optical, make_transform, matrix_from_quat_xyzw

RECORDER_NAME = "sfm_recorder"
"""Name of the ROS node that records."""
IMAGES_FILE = "images.csv"
ODOMETRY_FILE = "odometry.csv"
DIAGNOSTICS_FILE = "diagnostics.json"
_IMAGE = ["stamp_ns", "published_ns"]
_ODOMETRY = ["stamp_ns", "received_ns", "x", "y", "z", "qx", "qy", "qz", "qw"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthRecord:
    """A depth map that was published.

    Attributes:
        depth: (h, w) float32, NaN where invalid.
        K: (3, 3) camera matrix of that grid.
        uncertainty: (h, w) float32, its relative standard deviation; None if none was published.
    """

    depth: DepthMap
    K: FloatArray
    uncertainty: DepthMap | None = None


class RecordingWriter:
    """Writes a recording into a new or empty folder; every line is flushed."""

    def __init__(self, folder: Path) -> None:
        """OutputError if the folder holds anything or cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            is_empty = not any(folder.iterdir())
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
        if not is_empty:
            raise OutputError(f"{folder} is not empty; name a new folder")
        self._images = self._open(IMAGES_FILE, _IMAGE)
        self._odometry = self._open(ODOMETRY_FILE, _ODOMETRY)

    def _open(self, name: str, header: list[str]) -> TextIO:
        file = (self._folder / name).open("w", encoding="utf-8", buffering=1)
        file.write(",".join(header) + "\n")
        return file

    def image(self, stamp_ns: int, published_ns: int) -> None:
        """Record that an image was published."""
        self._images.write(f"{stamp_ns},{published_ns}\n")

    def odometry(self, stamp_ns: int, received_ns: int, pose: tuple[float, ...]) -> None:
        """Record an estimate; ``pose`` is x y z qx qy qz qw as in the message (body axes)."""
        numbers = ",".join(repr(float(value)) for value in pose)
        self._odometry.write(f"{stamp_ns},{received_ns},{numbers}\n")

    def pixels(self, stamp_ns: int, rgb: RgbImage) -> None:
        """Keep an image for the report."""
        np.save(self._folder / f"image_{stamp_ns}.npy", rgb)

    def depth(self, stamp_ns: int, record: DepthRecord) -> None:
        """Keep a depth map for the scores and the report."""
        np.savez(self._folder / f"depth_{stamp_ns}.npz", depth=record.depth, K=record.K)

    def uncertainty(self, stamp_ns: int, uncertainty: DepthMap) -> None:
        """Keep the relative standard deviation of a depth map."""
        np.save(self._folder / f"uncertainty_{stamp_ns}.npy", uncertainty)

    def diagnostics(self, values: Mapping[str, str]) -> None:
        """Keep the node's newest diagnostics instead of the previous ones."""
        new = self._folder / f"{DIAGNOSTICS_FILE}.new"
        new.write_text(json.dumps(dict(values), indent=2), encoding="utf-8")
        os.replace(new, self._folder / DIAGNOSTICS_FILE)

    def close(self) -> None:
        """Close the files."""
        self._images.close()
        self._odometry.close()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """What was received during a run.

    Attributes:
        folder: of the recording.
        image_stamps_ns, image_published_ns: (P,) int64, stamp of each image that was played and
            the time at which it was published.
        stamps_ns, received_ns: (M,) int64, stamp of each odometry message and the time at which
            it reached the recorder, on the same clock.
        T_odom_camera: (M, 4, 4) poses, optical axes.
        diagnostics: the node's last diagnostics; empty if none were received.
    """

    folder: Path
    image_stamps_ns: npt.NDArray[np.int64]
    image_published_ns: npt.NDArray[np.int64]
    stamps_ns: npt.NDArray[np.int64]
    received_ns: npt.NDArray[np.int64]
    T_odom_camera: FloatArray
    diagnostics: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(folder: Path) -> Recording:
        """Read a recording; an incomplete last line is left out."""
        images = _read_rows(folder / IMAGES_FILE, len(_IMAGE))
        odometry = _read_rows(folder / ODOMETRY_FILE, len(_ODOMETRY))
        poses = [_optical_pose([float(value) for value in row[2:]]) for row in odometry]
        diagnostics = folder / DIAGNOSTICS_FILE
        return Recording(
            folder=folder,
            image_stamps_ns=_column(images, 0),
            image_published_ns=_column(images, 1),
            stamps_ns=_column(odometry, 0),
            received_ns=_column(odometry, 1),
            T_odom_camera=np.array(poses).reshape(-1, 4, 4),
            diagnostics=json.loads(diagnostics.read_text()) if diagnostics.is_file() else {},
        )

    def latencies_ms(self) -> FloatArray:
        """Time from the publication of an image to the arrival of its odometry, per frame."""
        published = dict(zip(self.image_stamps_ns.tolist(), self.image_published_ns, strict=True))
        pairs = zip(self.stamps_ns.tolist(), self.received_ns, strict=True)
        return np.array(
            [(t - published[s]) * 1e-6 for s, t in pairs if s in published], np.float64
        )

    def depth_stamps_ns(self) -> list[int]:
        """Stamps of the depth maps that were kept, in order."""
        return sorted(int(path.stem.split("_")[1]) for path in self.folder.glob("depth_*.npz"))

    def depth(self, stamp_ns: int) -> DepthRecord:
        """A depth map that was kept."""
        with np.load(self.folder / f"depth_{stamp_ns}.npz") as values:
            depth, K = values["depth"], values["K"]
        path = self.folder / f"uncertainty_{stamp_ns}.npy"
        uncertainty = np.load(path) if path.is_file() else None
        return DepthRecord(depth=depth, K=K, uncertainty=uncertainty)

    def image(self, stamp_ns: int) -> RgbImage | None:
        """The image with this stamp, or None if it was not kept."""
        path = self.folder / f"image_{stamp_ns}.npy"
        return np.load(path) if path.is_file() else None


def is_open(folder: Path) -> bool:
    """Whether the recorder has started to write here."""
    return (folder / ODOMETRY_FILE).is_file()


def count_received(folder: Path) -> tuple[int, int]:
    """How many images and how many estimates a recording holds so far."""
    return _count_rows(folder / IMAGES_FILE), _count_rows(folder / ODOMETRY_FILE)


def _count_rows(path: Path) -> int:
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.is_file() else 0


def _read_rows(path: Path, columns: int) -> list[list[str]]:
    if not path.is_file():
        return []
    whole_lines = path.read_text(encoding="utf-8").split("\n")[1:-1]
    rows = [line.split(",") for line in whole_lines]
    return [row for row in rows if len(row) == columns]


def _column(rows: list[list[str]], index: int) -> npt.NDArray[np.int64]:
    return np.array([int(row[index]) for row in rows], dtype=np.int64)


def _optical_pose(pose: list[float]) -> FloatArray:
    return body_to_optical(make_transform(matrix_from_quat_xyzw(pose[3:]), pose[:3]))
