"""A ROS 2 bag written in parts, so that a killed run can be resumed.

Meanwhile the folder holds the finished parts (``NAME_0.mcap``, ...) and ``.unfinished`` with the
plan, their metadata and the part in progress. A part is renamed into the folder when it is closed,
so the folder never holds half a file. ``metadata.yaml``, without which the folder is no bag, is
written last. Whose files these are is known from the marker of the folder (`OutputFolder`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.metadata import METADATA, ROOT
from sfm_ros.bags.writer import BagTopics
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.outputs.folder import OutputFolder, require_room
from sfm_ros.outputs.paths import remove
from sfm_ros.safety.documents import read_json, read_yaml

PROGRAM = "sfm_kitti_to_bag"

_STATE = ".unfinished"
_PLAN_FILE = "plan.json"


class SplitBag:
    """A bag of a known number of parts.

    Attributes:
        folder: of the bag.
    """

    def __init__(
        self, folder: Path, parts: int, plan: Mapping[str, Any], inputs: Iterable[Path] = ()
    ) -> None:
        """Look for the parts that an interrupted run has finished.

        Args:
            folder: of the bag.
            parts: number of files it will have.
            plan: everything its content depends on, as plain values; only a run with the same
                plan resumes an interrupted one.
            inputs: files and folders that are read.

        Raises:
            SourceError: the folder is a complete bag, or was started with another plan.
        """
        self.folder, self._parts = folder, parts
        self._plan, self._inputs = dict(plan), tuple(inputs)
        self._state = folder / _STATE
        self._check_plan()

    @property
    def first_missing(self) -> int:
        """Index of the part to resume with; the number of parts if none is missing."""
        missing = (i for i in range(self._parts) if not self._is_finished(i))
        return self._parts if self._is_bag() else next(missing, self._parts)

    def _is_bag(self) -> bool:
        return (self.folder / METADATA).is_file()

    def _is_finished(self, part: int) -> bool:
        name = self._name(part)
        files = (self.folder / f"{name}.mcap", self._state / f"{name}.yaml")
        return all(file.is_file() for file in files)

    @contextmanager
    def writing(self, size: int) -> Iterator[None]:
        """Claim the folder, and complete the bag unless the block ends with an error.

        Args:
            size: of the missing parts, about, in bytes.

        Raises:
            SourceError: the folder has become a bag in the meantime.
            OutputError: it holds anything but the first parts of this bag, or cannot be written.
        """
        final, temporary = self._files()
        claimed = OutputFolder(
            self.folder, PROGRAM, self._inputs, final + temporary, self._recognized
        )
        with claimed as folder:
            self._check_plan()
            require_room(self.folder, size)
            folder.begin(final + temporary)
            self._state.mkdir(exist_ok=True)
            _write_atomically(self._state / _PLAN_FILE, json.dumps(self._plan, indent=2))
            yield
            if not self._is_bag():
                self._write_metadata()
            *others, plan = temporary
            for names in (others, [plan]):  # while there is a plan, the bag is completed again
                for name in names:
                    remove(self.folder, name)
                folder.complete()

    def _check_plan(self) -> None:
        started = self._started()
        if self._is_bag() and started is None:
            raise SourceError(f"{self.folder} is a bag already; it is not overwritten")
        if started is None or started == self._plan:
            return
        changed = [key for key in self._plan if started.get(key) != self._plan[key]]
        differences = ", ".join(f"{k} {started.get(k)} (now {self._plan[k]})" for k in changed)
        raise SourceError(
            f"{self.folder} was started with other options: {differences}; resume with the same "
            "options, or remove the folder"
        )

    def _started(self) -> dict[str, Any] | None:
        """The plan of an interrupted run."""
        plan_file = self._state / _PLAN_FILE
        if not plan_file.is_file():
            return None
        try:
            return dict(read_json(plan_file))
        except (UnsafeFileError, ValueError, TypeError) as error:
            raise SourceError(f"{plan_file} is damaged ({error}); name another folder") from error

    def _recognized(self, _: Path) -> list[str]:
        """The files of a run of version 0.1; its plan is that of this one."""
        return sum(self._files(), []) if (self._state / _PLAN_FILE).is_file() else []

    def _files(self) -> tuple[list[str], list[str]]:
        """The files of the bag, and those that are written meanwhile, the plan at the end."""
        parts, plan = [self._name(part) for part in range(self._parts)], f"{_STATE}/{_PLAN_FILE}"
        temporary = [f"{METADATA}.new", f"{plan}.new"]
        for part in parts:
            files = (f"{part}/{name}" for name in self._work_files(part))
            temporary += [f"{_STATE}/{name}" for name in (f"{part}.yaml", *files)]
        return [METADATA, *(f"{part}.mcap" for part in parts)], [*temporary, plan]

    @staticmethod
    def _work_files(part: str) -> tuple[str, ...]:
        """What rosbags writes for a part."""
        return f"{part}.mcap", METADATA, f"{METADATA}.tmp"

    def _name(self, part: int) -> str:
        return f"{self.folder.name}_{part}"

    @contextmanager
    def part(self, index: int) -> Iterator[BagTopics]:
        """Write a part; it is finished once the block ends without an error."""
        name = self._name(index)
        work = self._state / name
        for left in self._work_files(name):  # by a killed run
            remove(self._state, f"{name}/{left}")
        if work.exists():
            raise SourceError(f"{work} holds files of others; move them away")
        with Writer(work, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            yield BagTopics(writer)
        # The metadata first: the part is finished once its file is in place.
        os.replace(work / METADATA, self._state / f"{name}.yaml")
        os.replace(work / f"{name}.mcap", self.folder / f"{name}.mcap")
        work.rmdir()

    def _write_metadata(self) -> None:
        """Write the metadata that makes a bag of the parts."""
        entries = []
        for index in range(self._parts):
            entries.append(read_yaml(self._state / f"{self._name(index)}.yaml")[ROOT])
        text = yaml.safe_dump({ROOT: join_metadata(entries)}, sort_keys=False)
        _write_atomically(self.folder / METADATA, text)


def _write_atomically(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)


def join_metadata(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The metadata of a bag of several files, from that of bags of one file each."""
    files = [entry for part in parts for entry in part["files"]]
    starts = [entry["starting_time"]["nanoseconds_since_epoch"] for entry in files]
    durations = [entry["duration"]["nanoseconds"] for entry in files]
    end = max(map(sum, zip(starts, durations, strict=True)))
    topics: dict[str, dict[str, Any]] = {}
    for part in parts:
        for topic in part["topics_with_message_count"]:
            name = topic["topic_metadata"]["name"]
            known = topics.setdefault(name, {**topic, "message_count": 0})
            known["message_count"] += topic["message_count"]
    return {
        **parts[0],
        "relative_file_paths": [path for part in parts for path in part["relative_file_paths"]],
        "duration": {"nanoseconds": end - min(starts)},
        "starting_time": {"nanoseconds_since_epoch": min(starts)},
        "message_count": sum(part["message_count"] for part in parts),
        "topics_with_message_count": list(topics.values()),
        "files": files,
    }
