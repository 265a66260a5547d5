"""Pictures with true depth to measure against: laser scans, depth pictures, rendered streets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.ground_truth import (
    LIDAR_DEPTHS,
    ScannerView,
    read_depth_picture,
    read_scan,
    read_scanner_view,
    scan_depth,
)
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import intrinsics_for, list_pictures, read_picture
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

_ANNOTATED = Path("proj_depth", "groundtruth")
_UNITS_PER_METRE = 256.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSample:
    """One picture whose depth is known.

    Attributes:
        name: for reports.
        frame: reads the picture.
        truth: reads its depth: (H, W) metres along +z on the grid of the picture, 0 or NaN where
            unknown. Both may be called again.
    """

    name: str
    frame: Callable[[], Frame]
    truth: Callable[[], DepthMap]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSet:
    """Samples that are scored together.

    Attributes:
        name: what they are, for reports.
        truth: where the true depth comes from, for reports.
        crop: the crop that published figures on such data use.
        samples: at least one.
        absent: pictures of the split that are not in the folder.
    """

    name: str
    truth: str
    crop: str
    samples: Sequence[DepthSample]
    absent: int = 0

    def thinned(self, limit: int) -> DepthSet:
        """At most so many of the samples, evenly spread.

        Raises:
            SourceError: the limit is below 1.
        """
        if limit < 1:
            raise SourceError(f"the limit is {limit} pictures, expected at least 1")
        count = len(self.samples)
        if count <= limit:
            return self
        kept = [self.samples[i * count // limit] for i in range(limit)]
        return replace(self, name=f"{self.name} ({limit} of {count} pictures)", samples=kept)


def kitti_set(
    root: Path,
    frames: Mapping[str, Iterable[int]] | None = None,
    camera: str = "02",
    lidar_depth: str = "camera",
    annotated: Path | None = None,
    name: str | None = None,
) -> DepthSet:
    """Frames of KITTI raw drives, with laser scans or the annotated depth as truth.

    Args:
        root: folder of the days, ``2011_09_26/2011_09_26_drive_0002_sync/image_02/data``.
        frames: drive (``2011_09_26_drive_0002``, with or without ``_sync``) -> frame numbers; by
            default every frame that has a truth. Frames that are not in the folder are counted.
        camera: such as ``"02"``.
        lidar_depth: one of `LIDAR_DEPTHS`.
        annotated: folder of KITTI's annotated ("improved") depth, which holds
            ``<drive>_sync/proj_depth/groundtruth/image_02`` somewhere; None takes the scans.
        name: for the report; by default the folder.

    Raises:
        SourceError: no drive, or no frame with a picture and a truth.
    """
    if lidar_depth not in LIDAR_DEPTHS:
        raise SourceError(
            f"the lidar depth is '{lidar_depth}', expected one of {', '.join(LIDAR_DEPTHS)}"
        )
    drives = {drive.name: drive for drive in sorted(root.glob("*/*_sync")) if drive.is_dir()}
    if not drives:
        raise SourceError(
            f"{root} holds no KITTI raw drive: expected <day>/<day>_drive_0001_sync folders in it"
        )
    truths = {d.name: d for d in annotated.rglob("*_sync")} if annotated is not None else None
    wanted = _all_frames(drives, camera) if frames is None else frames
    samples, absent = [], 0
    views: dict[Path, ScannerView] = {}
    for drive, numbers in sorted(wanted.items()):
        folder = drives.get(drive.removesuffix("_sync") + "_sync")
        for number in sorted(numbers):
            truth = folder and _kitti_truth(folder, truths, camera, number)
            picture = folder and _picture_file(folder / f"image_{camera}" / "data", number)
            if not (folder and truth and picture):
                absent += 1
            else:
                day = folder.parent
                if truths is None and day not in views:
                    views[day] = read_scanner_view(day, camera)
                samples.append(
                    _kitti_sample(picture, truth, day, camera, views.get(day), lidar_depth)
                )
    if not samples:
        what = "scan in velodyne_points/data" if truths is None else "annotated depth picture"
        wanted_of = "" if frames is None else f", of the {absent} that are asked for"
        raise SourceError(
            f"no frame under {root} has a picture of camera {camera} and a {what}{wanted_of}"
        )
    axis = "the camera" if lidar_depth == "camera" else "the scanner"
    return DepthSet(
        name=name or str(root),
        truth=f"laser scans, depth along {axis}" if truths is None else "annotated depth",
        crop="garg" if truths is None else "none",
        samples=samples,
        absent=absent if frames is not None else 0,
    )


def _all_frames(drives: Mapping[str, Path], camera: str) -> dict[str, list[int]]:
    found = {}
    for name, folder in drives.items():
        pictures = (folder / f"image_{camera}" / "data").glob("[0-9]*")
        found[name] = [int(file.stem) for file in pictures if file.stem.isdecimal()]
    return found


def _picture_file(folder: Path, number: int) -> Path | None:
    files = (folder / f"{number:010d}{suffix}" for suffix in (".png", ".jpg"))
    return next((file for file in files if file.is_file()), None)


def _kitti_truth(
    drive: Path, truths: Mapping[str, Path] | None, camera: str, number: int
) -> Path | None:
    if truths is None:
        file = drive / "velodyne_points" / "data" / f"{number:010d}.bin"
    elif drive.name in truths:
        file = truths[drive.name] / _ANNOTATED / f"image_{camera}" / f"{number:010d}.png"
    else:
        return None
    return file if file.is_file() else None


def _kitti_sample(
    picture: Path,
    truth: Path,
    day: Path,
    camera: str,
    view: ScannerView | None,
    lidar_depth: str,
) -> DepthSample:
    def frame() -> Frame:
        rgb = read_picture(picture)
        intrinsics = intrinsics_for(rgb, day / "calib_cam_to_cam.txt", camera)
        return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics)

    def depth() -> DepthMap:
        if view is None:
            return read_depth_picture(truth, _UNITS_PER_METRE)
        return scan_depth(read_scan(truth), view, lidar_depth)

    drive = picture.parents[2].name.removesuffix("_sync")
    return DepthSample(name=f"{drive} {int(picture.stem)}", frame=frame, truth=depth)


def paired_set(
    images: Path, truth: Path, calib: Path | CameraIntrinsics, units_per_metre: float
) -> DepthSet:
    """A folder of pictures and a folder of 16-bit depth pictures of the same size.

    A picture and its depth share the last number in their names (``frame-000200.color.jpg`` and
    ``frame-000200.depth.png``), or are alike but for the suffix. Where both lie in one folder, the
    depth is what has "depth" in its name.

    Args:
        images, truth: the folders, which may be the same.
        calib: calibration of the pictures, or a file of it.
        units_per_metre: what a metre is stored as: 256 in KITTI's depth, 1000 in millimetres.

    Raises:
        SourceError: no pair, or two pictures of one number.
    """
    if not units_per_metre > 0:
        raise SourceError(f"a metre is stored as {units_per_metre:g}, expected a positive number")
    pictures, depths = list_pictures(images), list_pictures(truth)
    if images.resolve() == truth.resolve():
        depths = [file for file in depths if "depth" in file.name.lower()]
        pictures = [file for file in pictures if file not in depths]
    by_number = _by_number(depths)
    pairs = [
        (file, by_number[number])
        for number, file in _by_number(pictures).items()
        if number in by_number
    ]
    if not pairs:
        raise SourceError(
            f"no picture in {images} has a depth picture in {truth}: the last number in their "
            f"names must be the same ({pictures[0].name} and "
            f"{depths[0].name if depths else 'no depth picture'} are there)"
        )
    samples = [_paired_sample(file, depth, calib, units_per_metre) for file, depth in pairs]
    return DepthSet(
        name=str(images),
        truth=f"depth pictures, {units_per_metre:g} a metre",
        crop="none",
        samples=samples,
        absent=len(pictures) - len(pairs),
    )


def _by_number(files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        numbers = re.findall(r"\d+", file.stem)
        key = str(int(numbers[-1])) if numbers else file.stem
        if key in found:
            raise SourceError(
                f"{found[key].name} and {file.name} in {file.parent} have the same number; keep "
                "the pictures of one camera in a folder"
            )
        found[key] = file
    return found


def _paired_sample(
    picture: Path, truth: Path, calib: Path | CameraIntrinsics, units_per_metre: float
) -> DepthSample:
    def frame() -> Frame:
        rgb = read_picture(picture)
        return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics_for(rgb, calib))

    return DepthSample(
        name=picture.name,
        frame=frame,
        truth=lambda: read_depth_picture(truth, units_per_metre),
    )


def synthetic_set(
    seeds: Sequence[int], frames: int, width: int = 640, height: int = 200, every: int = 5
) -> DepthSet:
    """Frames of rendered streets with exact depth.

    Args:
        seeds: of the streets; those below 9000 are training's.
        frames: how many pictures of each.
        width, height: of the pictures.
        every: frames between two pictures, at 10 Hz.
    """
    streets = [
        SyntheticStreet(
            SyntheticConfig(seed=seed, width=width, height=height, frames=frames * every)
        )
        for seed in seeds
    ]
    return DepthSet(
        name=", ".join(street.name for street in streets),
        truth="rendered, exact",
        crop="none",
        samples=[
            _rendered_sample(street.name, render, index * every)
            for street in streets
            for render in [lru_cache(maxsize=1)(street.render)]  # picture and truth in one go
            for index in range(frames)
        ],
    )


def _rendered_sample(name: str, render: Callable[[int], SourceItem], index: int) -> DepthSample:
    def depth() -> DepthMap:
        found = render(index).depth_m
        assert found is not None  # the renderer knows every pixel
        return found

    return DepthSample(name=f"{name} {index}", frame=lambda: render(index).frame, truth=depth)
