"""KITTI raw drives with ground-truth depth from lidar scans or from the annotated depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sfm_ros.datatypes import DepthMap, Frame
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.evaluation.depth.ground_truth import (
    LIDAR_DEPTHS,
    LidarView,
    read_depth_image,
    read_lidar_view,
    read_scan,
    scan_depth,
)
from sfm_ros.sources.folder import intrinsics_for, read_image
from sfm_ros.sources.kitti.source import CAMERA_HEIGHT_M

_ANNOTATED = Path("proj_depth", "groundtruth")
_UNITS_PER_METER = 256.0


def kitti_set(
    root: Path,
    frames: Mapping[str, Iterable[int]] | None = None,
    camera: str = "02",
    lidar_depth: str = "camera",
    annotated: Path | None = None,
    name: str | None = None,
) -> DepthSet:
    """Frames of KITTI raw drives.

    Args:
        root: folder of the days, ``2011_09_26/2011_09_26_drive_0002_sync/image_02/data``.
        frames: drive (``2011_09_26_drive_0002``, with or without ``_sync``) -> frame numbers; by
            default every frame with ground truth. Frames that are not in the folder are counted.
        camera: such as ``"02"``.
        lidar_depth: one of `LIDAR_DEPTHS`.
        annotated: folder of KITTI's annotated ("improved") depth, which contains
            ``<drive>_sync/proj_depth/groundtruth/image_02`` at any depth; None uses the scans.
        name: for the report; by default the folder.

    Raises:
        SourceError: no drive, or no frame with an image and ground truth.
    """
    reader = _open(root, camera, lidar_depth, annotated)
    requested = reader.all_frames() if frames is None else frames
    samples = [
        reader.sample(drive, number)
        for drive, numbers in sorted(requested.items())
        for number in sorted(numbers)
    ]
    found = [sample for sample in samples if sample is not None]
    if not found:
        needed = "annotated depth" if annotated else "a scan in velodyne_points/data"
        count = "" if frames is None else f", of the {len(samples)} requested"
        raise SourceError(
            f"no frame under {root} has an image of camera {camera} and {needed}{count}"
        )
    return DepthSet(
        name=name or str(root),
        ground_truth=reader.ground_truth,
        crop="garg" if annotated is None else "none",
        samples=found,
        absent=0 if frames is None else len(samples) - len(found),
    )


def _open(root: Path, camera: str, lidar_depth: str, annotated: Path | None) -> _KittiReader:
    if lidar_depth not in LIDAR_DEPTHS:
        raise SourceError(
            f"the lidar depth is '{lidar_depth}', expected one of {', '.join(LIDAR_DEPTHS)}"
        )
    drives = {drive.name: drive for drive in sorted(root.glob("*/*_sync")) if drive.is_dir()}
    if not drives:
        raise SourceError(
            f"{root} contains no KITTI raw drive, expected <day>/<day>_drive_0001_sync folders"
        )
    return _KittiReader(
        drives=drives,
        annotated=None if annotated is None else {d.name: d for d in annotated.rglob("*_sync")},
        camera=camera,
        lidar_depth=lidar_depth,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _KittiReader:
    """Finds the files of frames.

    Attributes:
        drives: name with ``_sync`` -> folder.
        annotated: the same of the annotated depth; None to use the scans.
        camera: such as ``"02"``.
        lidar_depth: one of `LIDAR_DEPTHS`.
    """

    drives: Mapping[str, Path]
    annotated: Mapping[str, Path] | None
    camera: str
    lidar_depth: str
    _views: dict[Path, LidarView] = field(default_factory=dict)

    @property
    def ground_truth(self) -> str:
        """Origin of the depth, for reports."""
        if self.annotated is not None:
            return "annotated depth"
        axis = "the camera" if self.lidar_depth == "camera" else "the lidar"
        return f"lidar scans, depth along {axis}"

    def all_frames(self) -> dict[str, list[int]]:
        """Numbers of all images of each drive."""
        return {
            name: [int(f.stem) for f in self._images(drive).glob("*") if f.stem.isdecimal()]
            for name, drive in self.drives.items()
        }

    def sample(self, drive_name: str, number: int) -> DepthSample | None:
        """One frame; None if its image or its ground truth is missing."""
        drive = self.drives.get(drive_name.removesuffix("_sync") + "_sync")
        if drive is None:
            return None
        candidates = (self._images(drive) / f"{number:010d}{end}" for end in (".png", ".jpg"))
        image = next((file for file in candidates if file.is_file()), None)
        depth_file = self._depth_file(drive, number)
        if image is None or depth_file is None or not depth_file.is_file():
            return None
        return self._sample(drive, image, depth_file)

    def _sample(self, drive: Path, image: Path, depth_file: Path) -> DepthSample:
        day = drive.parent
        if self.annotated is None and day not in self._views:
            self._views[day] = read_lidar_view(day, self.camera)

        def frame() -> Frame:
            rgb = read_image(image)
            intrinsics = intrinsics_for(rgb, day / "calib_cam_to_cam.txt", self.camera)
            return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics)

        def depth() -> DepthMap:
            if self.annotated is not None:
                return read_depth_image(depth_file, _UNITS_PER_METER)
            return scan_depth(read_scan(depth_file), self._views[day], self.lidar_depth)

        return DepthSample(
            name=str(int(image.stem)),
            drive=drive.name.removesuffix("_sync"),
            frame=frame,
            ground_truth=depth,
            camera_height_m=CAMERA_HEIGHT_M,
        )

    def _images(self, drive: Path) -> Path:
        return drive / f"image_{self.camera}" / "data"

    def _depth_file(self, drive: Path, number: int) -> Path | None:
        if self.annotated is None:
            return drive / "velodyne_points" / "data" / f"{number:010d}.bin"
        folder = self.annotated.get(drive.name)
        if folder is None:
            return None
        return folder / _ANNOTATED / f"image_{self.camera}" / f"{number:010d}.png"
