"""Ground-truth depth in a folder beside the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sfm_ros.datatypes import DepthMap
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.ground_truth import read_depth_image
from sfm_ros.source import Source, SourceItem
from sfm_ros.sources.folder import FolderSource, frame_number, list_images


class WithDepthImages:
    """The frames of a folder, with 16-bit depth images of the same numbers and size.

    Attributes:
        name: of the frames.
        camera_height_m: height of the camera above the road, or None.
    """

    def __init__(self, frames: Source, folder: Path, units_per_meter: float) -> None:
        """List the depth images.

        Args:
            frames: from files whose names are numbers.
            folder: of the depth images.
            units_per_meter: stored value of one meter: 256 for KITTI, 1000 for millimeters.

        Raises:
            SourceError: the frames are no files, or none of them has a depth image.
        """
        if not isinstance(frames, FolderSource):
            raise SourceError("--depth-images belongs to --images or --kitti, found another input")
        if not units_per_meter > 0:
            raise SourceError(f"--units-per-meter is {units_per_meter:g}, expected more than 0")
        self.name, self.camera_height_m = frames.name, frames.camera_height_m
        self._frames, self._units = frames, units_per_meter
        by_number = {frame_number(file): file for file in list_images(folder)}
        numbers = [frame_number(file) for file in frames.files]
        files = [None if number is None else by_number.get(number) for number in numbers]
        self._file_of = dict(zip(frames.stamps_ns, files, strict=True))
        if not any(files):
            raise SourceError(
                f"no image in {frames.name} has a depth image in {folder}, expected files named "
                "by the same numbers"
            )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of the frames."""
        return self._frames.remarks

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[SourceItem]:
        for item in self._frames:
            file = self._file_of[item.frame.stamp_ns]
            yield item if file is None else replace(item, depth_m=self._read(file, item))

    def _read(self, file: Path, item: SourceItem) -> DepthMap:
        depth = read_depth_image(file, self._units)
        if depth.shape != item.frame.rgb.shape[:2]:
            raise SourceError(
                f"the depth image {file} is {depth.shape[1]}x{depth.shape[0]}, its image "
                f"{item.frame.rgb.shape[1]}x{item.frame.rgb.shape[0]}; expected equal sizes"
            )
        return depth
