"""From a source to frames on the grid of a set, in threads or in processes of their own."""

from __future__ import annotations

import argparse
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import RgbImage
from sfm_ros.preprocess import ImagePreparer, needs_undistortion, undistort_map
from sfm_ros.source import Deferred, Source, SourceItem, deferred
from training.data.sequence import INDEX, PreparedFrame, PreparedSet
from training.preparation.sources import Job
from training.preparation.writer import Begun, PreparedWriter

PARTS = "parts"
"""Folder inside an unfinished set: rides that other processes have made or are making."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One ride to be added: a source, or with ``--interleave`` one of its phases.

    Attributes:
        expected: how many frames the source says it will give.
    """

    name: str
    job: Job
    phase: int
    provenance: str
    expected: int = 0


def expected_frames(source: Source, options: argparse.Namespace, phase: int) -> int:
    """How many frames of a source are taken, before those that stand still are dropped."""
    taken = -(-max(0, len(source) - phase) // options.every)
    return min(options.limit or taken, taken)


def prepared_frames(
    source: Source,
    options: argparse.Namespace,
    phase: int = 0,
    threads: int = 1,
    begun: Begun | None = None,
) -> Iterator[PreparedFrame]:
    """The frames of a source on the grid of the set, thinned out as the options say.

    Args:
        phase: the first frame to take.
        threads: how many decode and resample.
        begun: what is in the set already; it is not decoded again.
    """
    preparer = ImagePreparer(options.width, options.height, options.input, options.fit)
    kept_gray = None if begun is None else _gray(begun.last_rgb)
    chosen = islice(deferred(source), phase, None, options.every)
    calls = enumerate(islice(chosen, options.limit or None))
    left = islice(calls, 0 if begun is None else begun.next_place, None)
    for frame in _in_order(preparer, left, options.input, threads):
        if options.min_change > 0:
            gray = _gray(frame.rgb)
            if kept_gray is not None and np.abs(gray - kept_gray).mean() < options.min_change:
                continue
            kept_gray = gray
        yield frame


def _gray(rgb: RgbImage) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _in_order(
    preparer: ImagePreparer, calls: Iterable[tuple[int, Deferred]], input: str, threads: int
) -> Iterator[PreparedFrame]:
    """Decoded and resampled by several threads (OpenCV lets them run), given in order."""

    def make(call: tuple[int, Deferred]) -> PreparedFrame | None:
        place, decode = call
        item = decode()
        return None if item is None else _prepared_frame(preparer, item, input, place)

    if threads == 1:
        yield from (frame for frame in map(make, calls) if frame is not None)
        return
    waiting: deque[Future[PreparedFrame | None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(make, call))
                if len(waiting) >= 2 * threads:
                    frame = waiting.popleft().result()
                    if frame is not None:
                        yield frame
            while waiting:
                frame = waiting.popleft().result()
                if frame is not None:
                    yield frame
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _prepared_frame(
    preparer: ImagePreparer, item: SourceItem, input: str, place: int
) -> PreparedFrame:
    result = preparer.prepare(item.frame)
    camera, raw = result.intrinsics, item.frame.intrinsics
    depth = item.depth_m
    if depth is not None:
        undistort = input == "raw" or (input == "auto" and needs_undistortion(raw))
        map_x, map_y = (m.astype(np.float32) for m in undistort_map(raw, camera, undistort))
        # Nearest: a mean of foreground and background would be a depth nothing in the scene has.
        nearest = cv2.remap(np.asarray(depth), map_x, map_y, cv2.INTER_NEAREST)
        depth = np.asarray(nearest, dtype=np.float32)
    return PreparedFrame(
        rgb=result.rgb,
        K=(camera.fx, camera.fy, camera.cx, camera.cy),
        stamp_ns=item.frame.stamp_ns,
        T_world_camera=item.T_world_camera,
        depth_m=depth,
        speed_m_s=item.speed_m_s,
        index=place,
    )


def part_folder(out: Path, recording: Recording) -> Path:
    """Where another process puts a ride; another setting has another folder."""
    key = hashlib.sha256(f"{recording.name}\n{recording.provenance}".encode()).hexdigest()[:16]
    return out / PARTS / key


def make_part(recording: Recording, options: argparse.Namespace, threads: int) -> None:
    """Prepare one ride as a set of its own, unless an earlier call has finished it.

    On disk, frame by frame: a ride of hours would not fit into memory.
    """
    cv2.setNumThreads(1)
    folder = part_folder(options.out, recording)
    if (folder / INDEX).is_file():
        return
    writer = PreparedWriter(folder, options.width, options.height)
    begun = writer.begun(recording.name, recording.provenance)
    frames = prepared_frames(recording.job.open(), options, recording.phase, threads, begun)
    writer.add(recording.name, frames, recording.provenance, max_gap_ns(options), begun)
    writer.finish()


def open_part(recording: Recording, options: argparse.Namespace) -> PreparedSet:
    """A ride that `make_part` has finished."""
    return PreparedSet.open(part_folder(options.out, recording))


def frames_in_part(recording: Recording, options: argparse.Namespace) -> int:
    """How many frames of a part are written already."""
    file = part_folder(options.out, recording) / "frames.u8"
    return file.stat().st_size // (options.width * options.height * 3) if file.is_file() else 0


def max_gap_ns(options: argparse.Namespace) -> int:
    """Time without a frame that ends a sequence."""
    return round(options.max_gap * 1e9)
