"""A ROS 2 bag written in parts, so that a killed run can be resumed.

Meanwhile the folder holds the finished parts (``NAME_0.mcap``, ...) and ``.unfinished`` with the
plan, their metadata and the part in progress. A part is renamed into the folder when it is closed,
so the folder never holds half a file. ``metadata.yaml``, without which the folder is no bag, is
written last. Whose files these are is known from the marker of the folder (`OutputFolder`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.writer import BagTopics
from sfm_ros.errors import SourceError

_STATE = ".unfinished"
_PLAN_FILE = "plan.json"
_METADATA = "metadata.yaml"
_ROOT = "rosbag2_bagfile_information"


class SplitBag:
    """A bag of a known number of parts.

    Attributes:
        folder: of the bag.
        first_missing: index of the part to resume with; the number of parts if none is missing.
    """

    def __init__(self, folder: Path, parts: int, plan: Mapping[str, Any]) -> None:
        """Make the folder, or find the parts that an interrupted run has finished.

        Args:
            folder: of the bag.
            parts: number of files it will have.
            plan: everything its content depends on, as plain values; only a run with the same
                plan resumes an interrupted one.

        Raises:
            SourceError: the folder is a complete bag, or holds anything but the first parts of
                this one. Nothing is ever overwritten.
        """
        self.folder, self._parts = folder, parts
        self._state = folder / _STATE
        self._claim(dict(plan))
        files = [folder / f"{self._name(part)}.mcap" for part in range(parts)]
        self.first_missing = next((i for i in range(parts) if not files[i].is_file()), parts)

    def _claim(self, plan: dict[str, Any]) -> None:
        plan_file = self._state / _PLAN_FILE
        if (self.folder / _METADATA).is_file():
            raise SourceError(f"{self.folder} is a bag already; it is not overwritten")
        if plan_file.is_file():
            started = json.loads(plan_file.read_text(encoding="utf-8"))
            changed = [key for key in plan if started.get(key) != plan[key]]
            if changed:
                differences = ", ".join(f"{k} {started.get(k)} (now {plan[k]})" for k in changed)
                raise SourceError(
                    f"{self.folder} was started with other options: {differences}; resume with "
                    "the same options, or remove the folder"
                )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise SourceError(
                f"{self.folder} exists and is not this bag unfinished; it is not overwritten"
            )
        self._state.mkdir(parents=True, exist_ok=True)
        _write_atomically(plan_file, json.dumps(plan, indent=2))

    def _name(self, part: int) -> str:
        return f"{self.folder.name}_{part}"

    @contextmanager
    def part(self, index: int) -> Iterator[BagTopics]:
        """Write a part; it is finished once the block ends without an error."""
        name = self._name(index)
        work = self._state / name
        shutil.rmtree(work, ignore_errors=True)
        with Writer(work, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            yield BagTopics(writer)
        # The metadata first: the part is finished once its file is in place.
        os.replace(work / _METADATA, self._state / f"{name}.yaml")
        os.replace(work / f"{name}.mcap", self.folder / f"{name}.mcap")
        work.rmdir()

    def finish(self) -> None:
        """Write the metadata that makes a bag of the parts."""
        entries = []
        for index in range(self._parts):
            text = (self._state / f"{self._name(index)}.yaml").read_text(encoding="utf-8")
            entries.append(yaml.safe_load(text)[_ROOT])
        text = yaml.safe_dump({_ROOT: join_metadata(entries)}, sort_keys=False)
        _write_atomically(self.folder / _METADATA, text)
        shutil.rmtree(self._state)


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
