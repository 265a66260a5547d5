"""From a source to frames on the grid of a set, in threads or in another process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, RgbImage
from sfm_ros.outputs.paths import remove
from sfm_ros.preprocess import ImagePreparer, undistort_map
from sfm_ros.source import (
    Deferred,
    Source,
    SourceItem,
    damaged_of,
    deferred,
    remarks_of,
    unreadable_of,
)
from training.data.ahead import map_ahead
from training.data.sequence import FRAMES, INDEX, PreparedFrame, PreparedSet
from training.preparation.frame_options import FrameOptions
from training.preparation.lessons import Lessons, camera_height_of, known_camera_height
from training.preparation.set_folder import PARTS, SET_FILES
from training.preparation.sources import SourceSpec
from training.preparation.writer import PartialSource, PreparedWriter


@dataclass(frozen=True, slots=True)
class Written:
    """A recording that was added.

    Attributes:
        frames: number of its frames in the set.
        missing: frames that its source lists and does not hold, of all phases.
        damaged: frames of this phase that could not be decoded.
        remarks: what was unusual about the source, a sentence each.
    """

    frames: int = 0
    missing: int = 0
    damaged: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """One source to be added to a set, or with ``--interleave`` one of its phases.

    Attributes:
        name: unique within the set.
        provenance: origin and options.
        phase: index of the first frame to take.
        expected: estimate of the number of frames.
    """

    name: str
    provenance: str
    spec: SourceSpec
    options: FrameOptions
    phase: int = 0
    expected: int = 0

    def estimate(self, on_source: Callable[[Source], object] = lambda _: None) -> int:
        """Frames to take, before static ones are dropped; opens the source if necessary.

        ``on_source`` is called with it then.
        """
        total = self.spec.frames
        if total is None:
            source = self.spec.open()
            total = len(source)
            on_source(source)
            if self.options.teacher != "none":
                camera_height_of(source, self.options.camera_height)
        taken = -(-max(0, total - self.phase) // self.options.every)
        return min(self.options.limit or taken, taken)

    def write(
        self, writer: PreparedWriter, threads: int, advance: Callable[[int], object]
    ) -> Written:
        """Add the recording to a set, or what is missing of it.

        Args:
            threads: how many decode and resample.
            advance: called with the number of frames that have been processed since the last call.
        """
        written = writer.partial(self.name, self.provenance)
        advance(0 if written is None else written.next_index)
        source = self.spec.open()
        frames = prepared_frames(source, self.options, self.phase, threads, written)
        with closing(frames):
            counted = _counted(frames, advance)
            max_gap_ns = round(self.options.max_gap * 1e9)
            count = writer.add(
                self.name,
                counted,
                self.provenance,
                max_gap_ns,
                written,
                known_camera_height(source, self.options.camera_height),
            )
        damaged = damaged_of(source)
        return Written(count, unreadable_of(source) - damaged, damaged, remarks_of(source))


def list_recordings(
    specs: Sequence[SourceSpec], options: FrameOptions, interleave: bool, provenance: str | None
) -> list[Recording]:
    """All recordings of these sources; ``provenance`` replaces the sources' own."""
    return [
        Recording(
            name=spec.name if phase == 0 else f"{spec.name}+{phase}",
            provenance=f"{provenance or spec.provenance}; {options.text()}, phase {phase}",
            spec=spec,
            options=options,
            phase=phase,
        )
        for spec in specs
        for phase in range(options.every if interleave else 1)
    ]


@dataclass(frozen=True, slots=True)
class Part:
    """A recording that another process prepares as a set of its own.

    On disk, frame by frame: a recording of hours would not fit into memory.
    """

    recording: Recording
    out: Path

    @property
    def folder(self) -> Path:
        """Inside the unfinished set ``out``; other options give another folder."""
        text = f"{self.recording.name}\n{self.recording.provenance}"
        return self.out / PARTS / hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def files(self) -> list[str]:
        """The files of the part, relative to ``out``."""
        folder = self.folder.relative_to(self.out).as_posix()
        return [f"{folder}/{name}" for name in SET_FILES]

    @property
    def frame_count(self) -> int:
        """Frames written so far, at most as many as expected."""
        file, options = self.folder / FRAMES, self.recording.options
        size = file.stat().st_size if file.is_file() else 0
        return min(self.recording.expected, size // (options.width * options.height * 3))

    def make(self, threads: int) -> Written:
        """Prepare the part; nothing is known of one that an earlier call has finished."""
        cv2.setNumThreads(1)
        if (self.folder / INDEX).is_file():
            return Written()
        options = self.recording.options
        writer = PreparedWriter(self.folder, options.width, options.height)
        written = self.recording.write(writer, threads, lambda _: None)
        writer.finish()
        return written

    def open(self) -> PreparedSet:
        """The finished part."""
        return PreparedSet.open(self.folder)

    def remove(self) -> None:
        """Delete the part."""
        for name in self.files:
            remove(self.out, name)


def prepared_frames(
    source: Source,
    options: FrameOptions,
    phase: int = 0,
    threads: int = 1,
    written: PartialSource | None = None,
) -> Generator[PreparedFrame, None, None]:
    """The frames of a source that the options select, on the grid of the set.

    Args:
        phase: index of the first frame to take.
        threads: how many decode and resample; OpenCV releases the interpreter lock.
        written: what is in the set already; it is not decoded again.
    """
    preparer = ImagePreparer(options.width, options.height, options.fit)
    last_gray = None if written is None else _gray(written.last_rgb)
    selected = islice(deferred(source), phase, None, options.every)
    indexed = enumerate(islice(selected, options.limit))
    missing = islice(indexed, 0 if written is None else written.next_index, None)
    make = partial(_make_frame, preparer)
    made = map(make, missing) if threads == 1 else map_ahead(make, missing, threads, 2 * threads)
    lessons = Lessons(source, options, phase)
    for frame in made:
        if frame is None:
            continue
        if options.min_change > 0:
            gray = _gray(frame.rgb)
            if last_gray is not None and np.abs(gray - last_gray).mean() < options.min_change:
                continue
            last_gray = gray
        yield lessons.taught(frame)


def _counted(
    frames: Iterator[PreparedFrame], advance: Callable[[int], object]
) -> Iterator[PreparedFrame]:
    for frame in frames:
        yield frame
        advance(1)


def _gray(rgb: RgbImage) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _make_frame(preparer: ImagePreparer, indexed: tuple[int, Deferred]) -> PreparedFrame | None:
    """Decode and resample one frame; None if the source skips it as undecodable."""
    index, decode = indexed
    item = decode()
    if item is None:
        return None
    image = preparer.prepare(item.frame)
    camera = image.intrinsics
    return PreparedFrame(
        rgb=image.rgb,
        K=(camera.fx, camera.fy, camera.cx, camera.cy),
        stamp_ns=item.frame.stamp_ns,
        T_world_camera=item.T_world_camera,
        depth_m=_resampled_depth(item, camera),
        speed_m_s=item.speed_m_s,
        index=index,
    )


def _resampled_depth(item: SourceItem, camera: CameraIntrinsics) -> DepthMap | None:
    if item.depth_m is None:
        return None
    maps = undistort_map(item.frame.intrinsics, camera)
    map_x, map_y = (m.astype(np.float32) for m in maps)
    # Nearest: a mean of foreground and background would be a depth nothing in the scene has.
    nearest = cv2.remap(np.asarray(item.depth_m), map_x, map_y, cv2.INTER_NEAREST)
    return np.asarray(nearest, dtype=np.float32)
