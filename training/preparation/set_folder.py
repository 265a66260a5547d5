"""The folder of a prepared set: the files in it, and how it is claimed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sfm_ros.errors import SourceError
from sfm_ros.outputs.folder import OutputFolder
from training.data.sequence import DEPTH, FRAMES, INDEX, OPEN, PARTIAL, read_index

PROGRAM = "prepare.py"
PARTS = "parts"
"""Folder inside an unfinished set: recordings prepared by other processes."""
SET_FILES = (FRAMES, DEPTH, *(n for name in (INDEX, PARTIAL, OPEN) for n in (name, f"{name}.tmp")))
"""What `PreparedWriter` writes, finished or not."""
REPORT_TEXT, REPORT_IMAGE = REPORT_FILES = ("report.txt", "report.png")


def set_folder(out: Path, inputs: Iterable[Path], with_report: bool) -> OutputFolder:
    """The folder of a set, to be claimed: new, or a set to be continued."""
    report = REPORT_FILES if with_report else ()
    return OutputFolder(out, PROGRAM, inputs, (*SET_FILES, *report), _recognized)


def _recognized(folder: Path) -> list[str]:
    """The files of a set of version 0.1, and of the parts that a killed call has left."""
    for name in (INDEX, PARTIAL):
        if (folder / name).is_file():
            try:
                read_index(folder / name)
            except SourceError:
                return []
            parts = [p.name for p in (folder / PARTS).glob("*")]
            in_parts = (f"{PARTS}/{part}/{name}" for part in parts for name in SET_FILES)
            return [*SET_FILES, *REPORT_FILES, *in_parts]
    return []
