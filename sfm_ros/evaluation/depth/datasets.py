"""Images with ground-truth depth: the samples, pairs of folders, rendered streets.

KITTI has its own module, `kitti`. To add a data set, write a function that returns a `DepthSet`,
and list it with its options in `command`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.ground_truth import read_depth_image
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import intrinsics_for, list_images, read_image
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSample:
    """One image with ground-truth depth. Both readers may be called repeatedly.

    Attributes:
        name: for reports, unique in its drive.
        drive: what it was recorded or rendered in, for reports.
        frame: reads the image.
        ground_truth: reads its depth: (H, W) meters along +z on the grid of the image, 0 or NaN if
            unknown.
        camera_height_m: height of the camera above the road; 0 if unknown.
    """

    name: str
    drive: str
    frame: Callable[[], Frame]
    ground_truth: Callable[[], DepthMap]
    camera_height_m: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSet:
    """Samples that are evaluated together.

    Attributes:
        name: of the data set, for reports.
        ground_truth: origin of the ground-truth depth, for reports.
        crop: the crop of published figures on such data.
        samples: at least one.
        absent: images of the split that are not in the folder.
    """

    name: str
    ground_truth: str
    crop: str
    samples: Sequence[DepthSample]
    absent: int = 0

    def thinned(self, limit: int) -> DepthSet:
        """At most ``limit`` of the samples, evenly spread; SourceError if it is below 1."""
        if limit < 1:
            raise SourceError(f"the limit is {limit} images, expected at least 1")
        count = len(self.samples)
        if count <= limit:
            return self
        kept = [self.samples[i * count // limit] for i in range(limit)]
        return replace(self, name=f"{self.name} ({limit} of {count} images)", samples=kept)


def joined_set(sets: Sequence[DepthSet]) -> DepthSet:
    """The samples of at least one set, with the same origin of the ground truth and crop, as one.

    The drives keep their names.
    """
    return replace(
        sets[0],
        name=", ".join(each.name for each in sets),
        samples=[sample for each in sets for sample in each.samples],
        absent=sum(each.absent for each in sets),
    )


def paired_set(
    images: Path,
    ground_truth: Path,
    calib: Path | CameraIntrinsics,
    units_per_meter: float,
    drive: str | None = None,
    camera_height_m: float = 0.0,
) -> DepthSet:
    """A folder of images and a folder of 16-bit depth images of the same size.

    An image and its depth have the same last number in their names (``frame-000200.color.jpg`` and
    ``frame-000200.depth.png``), or equal names except for the suffix. If both are in one folder,
    depth images are those with "depth" in their names.

    Args:
        images, ground_truth: the folders, which may be the same.
        calib: calibration of the images, or its file.
        units_per_meter: stored value of one meter: 256 for KITTI, 1000 for millimeters.
        drive: its name in reports; by default the folder of the images.
        camera_height_m: height of the camera above the road; 0 if unknown.

    Raises:
        SourceError: no pair, or two images with the same number.
    """
    if not units_per_meter > 0:
        raise SourceError(f"a meter is stored as {units_per_meter:g}, expected a positive number")
    files, depths = list_images(images), list_images(ground_truth)
    if images.resolve() == ground_truth.resolve():
        depths = [file for file in depths if "depth" in file.name.lower()]
        files = [file for file in files if file not in depths]
    depth_of = _by_number(depths)
    pairs = [(image, depth_of[n]) for n, image in _by_number(files).items() if n in depth_of]
    if not pairs:
        raise SourceError(
            f"no image in {images} has a depth image in {ground_truth}, expected the same last "
            f"number in their names; found {files[0].name} and "
            f"{depths[0].name if depths else 'no depth image'}"
        )
    name = drive or str(images)
    return DepthSet(
        name=str(images),
        ground_truth=f"depth images, {units_per_meter:g} units per meter",
        crop="none",
        samples=[
            replace(
                _paired_sample(name, image, depth, calib, units_per_meter),
                camera_height_m=camera_height_m,
            )
            for image, depth in pairs
        ],
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
                "the images of each camera in a separate folder"
            )
        found[key] = file
    return found


def _paired_sample(
    drive: str,
    image: Path,
    ground_truth: Path,
    calib: Path | CameraIntrinsics,
    units_per_meter: float,
) -> DepthSample:
    def frame() -> Frame:
        rgb = read_image(image)
        return Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics_for(rgb, calib))

    return DepthSample(
        name=image.name,
        drive=drive,
        frame=frame,
        ground_truth=lambda: read_depth_image(ground_truth, units_per_meter),
    )


def synthetic_set(
    seeds: Sequence[int], frames: int, width: int = 640, height: int = 200, every: int = 5
) -> DepthSet:
    """Every n-th of the frames, at 10 Hz, of rendered streets with exact depth.

    ``frames`` is the number of images of each street. Training uses the seeds below 9000.
    """
    config = SyntheticConfig(width=width, height=height, frames=frames * every)
    streets = [SyntheticStreet(replace(config, seed=seed)) for seed in seeds]
    return DepthSet(
        name=", ".join(street.name for street in streets),
        ground_truth="rendered, exact",
        crop="none",
        samples=[
            _rendered_sample(street, render, index * every)
            for street in streets
            for render in [lru_cache(maxsize=1)(street.render)]  # image and depth at once
            for index in range(frames)
        ],
    )


def _rendered_sample(
    street: SyntheticStreet, render: Callable[[int], SourceItem], index: int
) -> DepthSample:
    def depth() -> DepthMap:
        found = render(index).depth_m
        assert found is not None  # the renderer provides depth
        return found

    return DepthSample(
        name=str(index),
        drive=street.name,
        frame=lambda: render(index).frame,
        ground_truth=depth,
        camera_height_m=street.camera_height_m,
    )
