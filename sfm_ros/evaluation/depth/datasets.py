"""Images with ground-truth depth to measure against: laser scans, depth images, rendered streets."""

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
    LidarView,
    read_depth_image,
    read_lidar_view,
    read_scan,
    scan_depth,
)
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import intrinsics_for, list_images, read_image
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

_ANNOTATED = Path("proj_depth", "groundtruth")
_UNITS_PER_METER = 256.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSample:
    """One image whose depth is known.

    Attributes:
        name: for reports.
        frame: reads the image.
        ground_truth: reads its depth: (H, W) meters along +z on the grid of the image, 0 or NaN where
            unknown. Both may be called again.
    """

    name: str
    frame: Callable[[], Frame]
    ground_truth: Callable[[], DepthMap]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSet:
    """Samples that are scored together.

    Attributes:
        name: what they are, for reports.
        ground_truth: where the ground-truth depth comes from, for reports.
        crop: the crop that published figures on such data use.
        samples: at least one.
        absent: images of the split that are not in the folder.
    """

    name: str
    ground_truth: str
    crop: str
    samples: Sequence[DepthSample]
    absent: int = 0

    def thinned(self, limit: int) -> DepthSet:
        """At most so many of the samples, evenly spread.

        Raises:
            SourceError: the limit is below 1.
        """
        if limit < 1:
            raise SourceError(f"the limit is {limit} images, expected at least 1")
        count = len(self.samples)
        if count <= limit:
            return self
        kept = [self.samples[i * count // limit] for i in range(limit)]
        return replace(self, name=f"{self.name} ({limit} of {count} images)", samples=kept)


def kitti_set(
    root: Path,
    frames: Mapping[str, Iterable[int]] | None = None,
    camera: str = "02",
    lidar_depth: str = "camera",
    annotated: Path | None = None,
    name: str | None = None,
) -> DepthSet:
    """Frames of KITTI raw drives, with laser scans or the annotated depth as ground truth.

    Args:
        root: folder of the days, ``2011_09_26/2011_09_26_drive_0002_sync/image_02/data``.
        frames: drive (``2011_09_26_drive_0002``, with or without ``_sync``) -> frame numbers; by
            default every frame that has a ground truth. Frames that are not in the folder are counted.
        camera: such as ``"02"``.
        lidar_depth: one of `LIDAR_DEPTHS`.
        annotated: folder of KITTI's annotated ("improved") depth, which holds
            ``<drive>_sync/proj_depth/groundtruth/image_02`` somewhere; None takes the scans.
        name: for the report; by default the folder.

    Raises:
        SourceError: no drive, or no frame with an image and a ground truth.
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
    ground_truths = (
        {d.name: d for d in annotated.rglob("*_sync")} if annotated is not None else None
    )
    wanted = _all_frames(drives, camera) if frames is None else frames
    samples, absent = [], 0
    views: dict[Path, LidarView] = {}
    for drive, numbers in sorted(wanted.items()):
        folder = drives.get(drive.removesuffix("_sync") + "_sync")
        for number in sorted(numbers):
            ground_truth = folder and _kitti_ground_truth(folder, ground_truths, camera, number)
            image = folder and _image_file(folder / f"image_{camera}" / "data", number)
            if not (folder and ground_truth and image):
                absent += 1
            else:
                day = folder.parent
                if ground_truths is None and day not in views:
                    views[day] = read_lidar_view(day, camera)
                samples.append(
                    _kitti_sample(image, ground_truth, day, camera, views.get(day), lidar_depth)
                )
    if not samples:
        what = "scan in velodyne_points/data" if ground_truths is None else "annotated depth image"
        wanted_of = "" if frames is None else f", of the {absent} that are asked for"
        raise SourceError(
            f"no frame under {root} has an image of camera {camera} and a {what}{wanted_of}"
        )
    axis = "the camera" if lidar_depth == "camera" else "the lidar"
    return DepthSet(
        name=name or str(root),
        ground_truth=f"laser scans, depth along {axis}"
        if ground_truths is None
        else "annotated depth",
        crop="garg" if ground_truths is None else "none",
        samples=samples,
        absent=absent if frames is not None else 0,
    )


def _all_frames(drives: Mapping[str, Path], camera: str) -> dict[str, list[int]]:
    found = {}
    for name, folder in drives.items():
        images = (folder / f"image_{camera}" / "data").glob("[0-9]*")
        found[name] = [int(file.stem) for file in images if file.stem.isdecimal()]
    return found


def _image_file(folder: Path, number: int) -> Path | None:
    files = (folder / f"{number:010d}{suffix}" for suffix in (".png", ".jpg"))
    return next((file for file in files if file.is_file()), None)


def _kitti_ground_truth(
    drive: Path, ground_truths: Mapping[str, Path] | None, camera: str, number: int
) -> Path | None:
    if ground_truths is None:
        file = drive / "velodyne_points" / "data" / f"{number:010d}.bin"
    elif drive.name in ground_truths:
        file = ground_truths[drive.name] / _ANNOTATED / f"image_{camera}" / f"{number:010d}.png"
    else:
        return None
    return file if file.is_file() else None


def _kitti_sample(
    image: Path,
    ground_truth: Path,
    day: Path,
    camera: str,
    view: LidarView | None,
    lidar_depth: str,
) -> DepthSample:
    def frame() -> Frame:
        rgb = read_image(image)
        intrinsics = intrinsics_for(rgb, day / "calib_cam_to_cam.txt", camera)
        return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics)

    def depth() -> DepthMap:
        if view is None:
            return read_depth_image(ground_truth, _UNITS_PER_METER)
        return scan_depth(read_scan(ground_truth), view, lidar_depth)

    drive = image.parents[2].name.removesuffix("_sync")
    return DepthSample(name=f"{drive} {int(image.stem)}", frame=frame, ground_truth=depth)


def paired_set(
    images: Path, ground_truth: Path, calib: Path | CameraIntrinsics, units_per_meter: float
) -> DepthSet:
    """A folder of images and a folder of 16-bit depth images of the same size.

    An image and its depth share the last number in their names (``frame-000200.color.jpg`` and
    ``frame-000200.depth.png``), or are alike but for the suffix. Where both lie in one folder, the
    depth is what has "depth" in its name.

    Args:
        images, ground_truth: the folders, which may be the same.
        calib: calibration of the images, or a file of it.
        units_per_meter: what a meter is stored as: 256 in KITTI's depth, 1000 in millimeters.

    Raises:
        SourceError: no pair, or two images of one number.
    """
    if not units_per_meter > 0:
        raise SourceError(f"a meter is stored as {units_per_meter:g}, expected a positive number")
    files, depths = list_images(images), list_images(ground_truth)
    if images.resolve() == ground_truth.resolve():
        depths = [file for file in depths if "depth" in file.name.lower()]
        files = [file for file in files if file not in depths]
    by_number = _by_number(depths)
    pairs = [
        (image, by_number[number])
        for number, image in _by_number(files).items()
        if number in by_number
    ]
    if not pairs:
        raise SourceError(
            f"no image in {images} has a depth image in {ground_truth}: the last number in their "
            f"names must be the same ({files[0].name} and "
            f"{depths[0].name if depths else 'no depth image'} are there)"
        )
    samples = [_paired_sample(image, depth, calib, units_per_meter) for image, depth in pairs]
    return DepthSet(
        name=str(images),
        ground_truth=f"depth images, {units_per_meter:g} a meter",
        crop="none",
        samples=samples,
        absent=len(files) - len(pairs),
    )


def _by_number(files: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        numbers = re.findall(r"\d+", file.stem)
        key = str(int(numbers[-1])) if numbers else file.stem
        if key in found:
            raise SourceError(
                f"{found[key].name} and {file.name} in {file.parent} have the same number; keep "
                "the images of one camera in a folder"
            )
        found[key] = file
    return found


def _paired_sample(
    image: Path, ground_truth: Path, calib: Path | CameraIntrinsics, units_per_meter: float
) -> DepthSample:
    def frame() -> Frame:
        rgb = read_image(image)
        return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics_for(rgb, calib))

    return DepthSample(
        name=image.name,
        frame=frame,
        ground_truth=lambda: read_depth_image(ground_truth, units_per_meter),
    )


def synthetic_set(
    seeds: Sequence[int], frames: int, width: int = 640, height: int = 200, every: int = 5
) -> DepthSet:
    """Frames of rendered streets with exact depth.

    Args:
        seeds: of the streets; those below 9000 are training's.
        frames: how many images of each.
        width, height: of the images.
        every: frames between two images, at 10 Hz.
    """
    streets = [
        SyntheticStreet(
            SyntheticConfig(seed=seed, width=width, height=height, frames=frames * every)
        )
        for seed in seeds
    ]
    return DepthSet(
        name=", ".join(street.name for street in streets),
        ground_truth="rendered, exact",
        crop="none",
        samples=[
            _rendered_sample(street.name, render, index * every)
            for street in streets
            for render in [lru_cache(maxsize=1)(street.render)]  # image and ground truth in one go
            for index in range(frames)
        ],
    )


def _rendered_sample(name: str, render: Callable[[int], SourceItem], index: int) -> DepthSample:
    def depth() -> DepthMap:
        found = render(index).depth_m
        assert found is not None  # the renderer knows every pixel
        return found

    return DepthSample(
        name=f"{name} {index}", frame=lambda: render(index).frame, ground_truth=depth
    )
