"""What scoring a bag costs beside its inference, and whether memory grows with its length.

    python benchmarks/evaluation_cost.py [--kitti DIR] [--frames 401 4010] [--threads 2]

Writes bags of compressed images (a KITTI sequence, or a rendered street, driven up and down)
and runs `sfm_evaluate bag` over each in a process of its own. Prints the machine, and of each run
the time from start to exit, report included, over the sum of its inference times, and the peak of
its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.messages import (
    camera_info_message,
    compressed_image_message,
    encode_image,
    ground_truth_message,
)
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC, BagTopics
from sfm_ros.datatypes import CameraIntrinsics, FloatArray
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

_PERIOD_NS = 100_000_000
_STREET = SyntheticConfig(seed=9200, width=1242, height=375, fx=721.0, frames=40, kind="city")
_JPEG_QUALITY = 90
_FRAME_ID = "camera_optical"
_MEGABYTE = 1024.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image as the bytes of a file, and where the camera was."""

    data: bytes
    kind: str
    T_world_camera: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a run took: seconds in total and in the engine, and megabytes at its peak."""

    total_s: float
    inference_s: float
    peak_mb: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kitti", type=Path, help="KITTI sequence; default: a rendered street")
    parser.add_argument("--frames", type=int, nargs="+", default=[401, 4010])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    options = parser.parse_args()
    try:
        camera, images = kitti(options.kitti) if options.kitti else street()
        print(provenance())
        print(f"{camera.width}x{camera.height}, model {options.model}, {options.threads} threads")
        print(f"{'frames':>8}{'total s':>10}{'inference s':>13}{'ratio':>8}{'peak MB':>9}")
        for frames in options.frames:
            with tempfile.TemporaryDirectory(prefix="sfm_benchmark_") as folder:
                write(Path(folder) / "bag", camera, images, frames)
                cost = measure(Path(folder), options.model, options.threads)
            print(
                f"{frames:8d}{cost.total_s:10.2f}{cost.inference_s:13.2f}"
                f"{cost.total_s / cost.inference_s:8.2f}{cost.peak_mb:9.0f}",
                flush=True,
            )
    except (SfmRosError, subprocess.CalledProcessError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def street() -> tuple[CameraIntrinsics, list[Image]]:
    """A rendered street."""
    rendered = SyntheticStreet(_STREET)
    images = [
        Image(
            data=encode_image(item.frame, "jpeg", _JPEG_QUALITY),
            kind="jpeg",
            T_world_camera=item.T_world_camera,
        )
        for item in rendered
        if item.T_world_camera is not None
    ]
    return rendered.intrinsics, images


def kitti(folder: Path) -> tuple[CameraIntrinsics, list[Image]]:
    """The files of a KITTI sequence as they are."""
    source = open_kitti(folder)
    kinds = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
    images = [
        Image(
            data=file.read_bytes(),
            kind=kinds[file.suffix.lower()],
            T_world_camera=np.eye(4) if pose is None else pose,
        )
        for file, pose in zip(source.files, source.poses, strict=True)
    ]
    return source.intrinsics, images


def up_and_down(count: int, frames: int) -> Iterator[int]:
    """0, 1, ... count - 1, count - 2, ... 1, 0, 1, ...: neighbors stay neighbors."""
    last = max(count - 1, 1)
    for index in range(frames):
        yield min(last - abs(last - index % (2 * last)), count - 1)


def write(bag: Path, camera: CameraIntrinsics, images: list[Image], frames: int) -> None:
    """A bag of this many frames, whose ground-truth trajectory continues when the images turn."""
    T_world_camera = np.eye(4)
    order = list(up_and_down(len(images), frames))
    steps = [np.eye(4)] + [
        np.linalg.inv(images[a].T_world_camera) @ images[b].T_world_camera
        for a, b in pairwise(order)
    ]
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        for index, (image_index, step) in enumerate(zip(order, steps, strict=True)):
            stamp_ns = (index + 1) * _PERIOD_NS
            T_world_camera = T_world_camera @ step
            info = camera_info_message(camera, stamp_ns, _FRAME_ID)
            image = compressed_image_message(
                images[image_index].data, images[image_index].kind, stamp_ns, _FRAME_ID
            )
            pose = ground_truth_message(T_world_camera, stamp_ns, _FRAME_ID)
            topics.add(CAMERA_INFO_TOPIC, info, stamp_ns)
            topics.add(f"{IMAGE_TOPIC}/compressed", image, stamp_ns)
            topics.add(GROUND_TRUTH_TOPIC, pose, stamp_ns)


def measure(folder: Path, model: str, threads: int) -> Cost:
    """Score the bag in a folder in a process of its own.

    Raises:
        CalledProcessError: it failed.
    """
    words = ["--out", str(folder / "out"), "--threads", str(threads), "--model", model]
    command = [sys.executable, "-m", "sfm_ros.cli.evaluate", "bag", str(folder / "bag"), *words]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    total_s = time.perf_counter() - start
    if status != 0:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    return Cost(
        total_s=total_s,
        inference_s=summary["inference_s"],
        peak_mb=usage.ru_maxrss / _MEGABYTE,
    )


if __name__ == "__main__":
    sys.exit(main())
