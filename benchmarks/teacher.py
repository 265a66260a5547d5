"""What `prepare.py --teacher geometry` costs, and how well its depth agrees with ground truth.

    python benchmarks/teacher.py [--seeds 9300-9302] [--frames 40]
    python benchmarks/teacher.py --images DIR --calib FILE --camera-height 1.65 --ground-truth DIR

Teaches rendered streets, or a folder of images with 16-bit depth images (256 units per meter, as
KITTI has them), on the grid of 416x128. Prints the machine, the processor time of a frame, and
errors without any scaling over Garg's crop up to 80 m, with the part of it that is covered.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sfm_ros.datatypes import CameraIntrinsics, DepthMap
from sfm_ros.evaluation.depth.ground_truth import read_depth_image
from sfm_ros.evaluation.depth.metrics import DepthMetrics, crop_mask, depth_errors
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.preprocess import plan_target_camera, rectified_camera, undistort_map
from sfm_ros.source import Source
from sfm_ros.sources.folder import FolderSource
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.data.sequence import SKY_DEPTH_M
from training.preparation.sources import seed_range
from training.preparation.teacher.images import GrayImages
from training.preparation.teacher.teacher import Teacher

WIDTH, HEIGHT = 416, 128
RENDERED_WIDTH, RENDERED_HEIGHT = 832, 256


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A drive and its ground truth.

    Attributes:
        camera: of its images.
        depth_of: ground-truth depth of a frame on the grid of the images, 0 unknown.
    """

    source: Source
    camera: CameraIntrinsics
    height_m: float
    depth_of: Callable[[int], DepthMap]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seed_range, default=range(9300, 9303))
    parser.add_argument("--frames", type=int, default=40, help="of each rendered street")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--camera-height", type=float, default=1.65)
    parser.add_argument("--ground-truth", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(provenance())
    print(
        f"{'drive':40}{'frames':>7}{'motion ms':>11}{'depth ms':>10}{'abs_rel':>9}{'covered':>9}"
    )
    for drive in [recording(options)] if options.images else streets(options):
        print(measured(drive), flush=True)


def recording(options: argparse.Namespace) -> Drive:
    """The drive that the options name."""
    source = FolderSource(options.images, options.calib)
    depths = sorted(options.ground_truth.glob("*.png"))
    if len(depths) != len(source):
        raise SystemExit(f"{len(depths)} depth images for {len(source)} images")
    return Drive(
        source=source,
        camera=source.intrinsics,
        height_m=options.camera_height,
        depth_of=lambda index: read_depth_image(depths[index], 256.0),
    )


def streets(options: argparse.Namespace) -> Iterator[Drive]:
    """Rendered streets, with traffic that stands in every other one."""
    for seed in options.seeds:
        street = SyntheticStreet(
            SyntheticConfig(
                seed=seed, width=RENDERED_WIDTH, height=RENDERED_HEIGHT, frames=options.frames,
                kind=("city", "traffic")[seed % 2],
            )
        )  # fmt: skip
        items = list(street)  # rendering is no part of the cost
        depths = [np.asarray(item.depth_m) for item in items]
        yield Drive(
            source=Rendered(street.name, items),
            camera=street.intrinsics,
            height_m=street.camera_height_m,
            depth_of=depths.__getitem__,
        )


class Rendered:
    """Rendered frames as a source."""

    def __init__(self, name: str, items: list) -> None:
        self.name, self._items = name, items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator:
        return iter(self._items)


def measured(drive: Drive) -> str:
    """A line of the table."""
    images = GrayImages(WIDTH, HEIGHT, "crop")
    teacher = Teacher(drive.source, images, drive.height_m)
    start, count = time.process_time(), len(drive.source)
    found = len(teacher.motion.segments)
    motion_s = time.process_time() - start
    depth_s, errors = 0.0, []
    for index in range(found):
        start = time.process_time()
        lesson = teacher.teach(index)
        depth_s += time.process_time() - start
        if lesson is not None:
            errors.append(score(drive, index, lesson.depth_m))
    known = [e for e in errors if e is not None]
    abs_rel, covered = (
        float(np.mean([getattr(e, name) for e in known])) for name in ("abs_rel", "coverage")
    )
    covered *= len(known) / count
    name, times = drive.source.name[-38:], (1e3 * motion_s / count, 1e3 * depth_s / count)
    return f"{name:40}{count:7}{times[0]:11.0f}{times[1]:10.0f}{abs_rel:9.4f}{covered:9.3f}"


def score(drive: Drive, index: int, depth_m: DepthMap) -> DepthMetrics | None:
    """Errors of a frame on the grid of its ground truth."""
    expected = drive.depth_of(index)
    camera = rectified_camera(drive.camera)
    target = plan_target_camera(camera, WIDTH, HEIGHT)
    maps = undistort_map(target, camera)
    measured = np.where(depth_m < SKY_DEPTH_M, np.maximum(depth_m, 0), 0).astype(np.float32)
    seen = cv2.remap(measured, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return depth_errors(
        np.asarray(seen), expected, scaling="none", mask=crop_mask("garg", *expected.shape)
    )


if __name__ == "__main__":
    main()
