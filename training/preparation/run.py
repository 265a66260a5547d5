"""Adds recordings to a prepared set: one after the other, or in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from tqdm import tqdm

from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.source import Source, remarks_of
from training.preparation.recordings import Part, Recording, Written
from training.preparation.writer import PreparedWriter

POLL_S = 0.5
"""Interval at which the progress of other processes is read."""
Failures = dict[str, SfmRosError]


class Preparation:
    """Adds recordings to a set; one that fails is noted and the others are added.

    Args:
        jobs: number of processes, or of threads for a single recording.

    Attributes:
        failures: recordings that could not be added, and why.
    """

    def __init__(self, writer: PreparedWriter, jobs: int) -> None:
        self.failures: Failures = {}
        self._missing: dict[str, int] = {}
        self._damaged = 0
        self._reported: set[tuple[str, str]] = set()
        self._writer, self._jobs = writer, jobs

    @property
    def unreadable(self) -> int:
        """Frames that the sources list and could not read.

        Each phase of a source decodes frames of its own; what is missing, all of them miss.
        """
        return sum(self._missing.values()) + self._damaged

    def missing(self, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings that are not in the set yet and whose sources open.

        Raises:
            SourceError: two recordings have one name, or one is in the set with other options.
        """
        _check_names(recordings)
        missing = [recording for recording in recordings if not self._is_done(recording)]
        if len(missing) < len(recordings):
            done = len(recordings) - len(missing)
            tqdm.write(f"{done} of {len(recordings)} sources are prepared already")
        return self._usable(missing)

    def part_files(self, recordings: Sequence[Recording]) -> list[str]:
        """What is written meanwhile besides the files of the set, relative to its folder."""
        parts = [Part(recording, self._writer.path) for recording in recordings]
        return [name for part in parts for name in part.files] if self._is_parallel(parts) else []

    def _is_parallel(self, recordings: Sequence[object]) -> bool:
        return min(self._jobs, len(recordings)) > 1

    def add(self, recordings: Sequence[Recording]) -> None:
        """Add recordings of `missing`."""
        add = self._add_in_parallel if self._is_parallel(recordings) else self._add_in_turn
        total = sum(recording.expected for recording in recordings)
        with tqdm(total=total, unit="frame", disable=None) as progress:
            add(recordings, progress)

    def _is_done(self, recording: Recording) -> bool:
        found = self._writer.provenance_of(recording.name)
        if found is not None and found != recording.provenance:
            raise SourceError(
                f"'{recording.name}' is already in {self._writer.path} with other options "
                f"({found}; requested {recording.provenance}); choose another output folder"
            )
        return found is not None

    def _usable(self, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings whose sources open, with the number of frames to expect.

        A missing calibration is thus reported within seconds, not after hours.
        """
        usable: list[Recording] = []
        bar = tqdm(recordings, desc="opening", unit="source", leave=False, disable=None)
        for recording in bar:
            try:
                report = partial(self._report_source, recording)
                usable.append(replace(recording, expected=recording.estimate(report)))
            except SfmRosError as error:
                self._fail(recording, error)
        return usable

    def _report_source(self, recording: Recording, source: Source) -> None:
        """Print which camera the images of a source have, and what was unusual about it."""
        camera = getattr(source, "camera", None)
        texts = () if camera is None else (camera.text,)
        self._report(recording, (*texts, *remarks_of(source)))

    def _report_end(self, recording: Recording, written: Written, frames: int) -> None:
        tqdm.write(f"{recording.name}: {frames} frames")
        self._report(recording, written.remarks)
        name = recording.spec.name
        self._missing[name] = max(self._missing.get(name, 0), written.missing)
        self._damaged += written.damaged

    def _report(self, recording: Recording, texts: Iterable[str]) -> None:
        """Print what was not printed before of this source, in whichever phase."""
        for text in texts:
            key = recording.spec.name, text
            if key not in self._reported:
                self._reported.add(key)
                tqdm.write(f"{recording.name}: {text}")

    def _fail(self, recording: Recording, error: SfmRosError) -> None:
        self.failures[recording.name] = error
        tqdm.write(f"{recording.name}: left out: {error}")

    def _add_in_turn(self, recordings: Sequence[Recording], progress: tqdm) -> None:
        for recording in recordings:
            progress.set_description(recording.name)
            start = progress.n
            try:
                written = recording.write(self._writer, self._jobs, progress.update)
                self._report_end(recording, written, written.frames)
            except SfmRosError as error:
                self._fail(recording, error)
            progress.update(start + recording.expected - progress.n)

    def _add_in_parallel(self, recordings: Sequence[Recording], progress: tqdm) -> None:
        """Processes prepare parts on disk, which are appended in the order of the recordings."""
        workers = min(self._jobs, len(recordings))
        parts = [Part(recording, self._writer.path) for recording in recordings]
        with _worker_pool(workers) as pool:
            results = [pool.submit(part.make, self._jobs // workers) for part in parts]
            done = 0
            for index, (part, result) in enumerate(zip(parts, results, strict=True)):
                while not wait([result], timeout=POLL_S).done:
                    written = sum(unfinished.frame_count for unfinished in parts[index:])
                    progress.update(done + written - progress.n)
                self._append(part, result)
                done += part.recording.expected
        progress.update(done - progress.n)

    def _append(self, part: Part, result: Future[Written]) -> None:
        try:
            written = result.result()
            self._report_end(part.recording, written, self._writer.append(part.open()))
        except BrokenProcessPool as error:
            raise SourceError(
                "a process ended unexpectedly, most likely for lack of memory; run the same "
                "command with a smaller --jobs"
            ) from error
        except SfmRosError as error:
            self._fail(part.recording, error)
        part.remove()


def _check_names(recordings: Sequence[Recording]) -> None:
    names = [recording.name for recording in recordings]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(
                f"two sources have the name '{name}'; prepare them in separate calls, from "
                "folders whose last two parts differ"
            )


@contextmanager
def _worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes are terminated if the block is left by an exception."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_init_worker)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _init_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even if it is killed.

    An orphan would keep writing a part while the same command, run again, writes the same part.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # killed while this process started
        os._exit(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
