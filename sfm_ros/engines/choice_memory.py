"""Remembers which engine was the fastest on this machine, in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from sfm_ros.engines.registry import CPU_PACKAGES, Candidate
from sfm_ros.errors import OutputError, UnsafeFileError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.outputs.cache import cache_folder, write_atomically
from sfm_ros.safety.documents import parse_json
from sfm_ros.safety.files import read_text

_LARGEST_FILE = 2**16
_KEY_DIGITS = 24


def processor_name() -> str:
    """The processor's name as it states it itself."""
    with suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def machine_key(spec: ModelSpec, threads: int) -> dict[str, str]:
    """Everything that may change which engine is the fastest."""
    graphs = [spec.depth_sha256, spec.pose_sha256]
    for name, variant in sorted(spec.variants.items()):
        graphs += [name, variant.depth_sha256, variant.pose_sha256]
    return {
        "processor": processor_name(),
        "cores": str(len(os.sched_getaffinity(0))),
        "threads": str(threads),
        "graphs": hashlib.sha256(" ".join(graphs).encode()).hexdigest(),
        **{name: _version(name) for name in CPU_PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class ChoiceMemory:
    """One file for each set of candidates of a model on this machine.

    Nothing depends on it: a file that is missing, damaged or of another machine is measured
    again, and a cache that cannot be written is left alone.

    Args:
        key: see `machine_key`.
        candidates: among which was chosen.

    Attributes:
        refusals: lines on what the parity gate refused, of the choice that was recalled last.
    """

    def __init__(self, key: Mapping[str, str], candidates: list[Candidate]) -> None:
        self._stated = {**key, "candidates": ", ".join(map(str, candidates))}
        self._candidates = candidates
        self.refusals: list[str] = []

    def recall(self) -> tuple[Candidate, dict[str, float]] | None:
        """The fastest and the milliseconds of all that were measured; None if not remembered."""
        try:
            values = parse_json(read_text(self.path, _LARGEST_FILE))
            if values["of"] != self._stated:
                return None
            chosen = Candidate(**values["chosen"])
            times_ms = {str(name): float(ms) for name, ms in values["milliseconds"].items()}
            self.refusals = [str(line) for line in values["refusals"]]
        except (OSError, OutputError, UnsafeFileError, LookupError, ValueError, TypeError,
                AttributeError):  # fmt: skip
            return None
        return (chosen, times_ms) if chosen in self._candidates else None

    def remember(
        self, chosen: Candidate, times_ms: Mapping[str, float], refusals: Sequence[str] = ()
    ) -> bool:
        """Write the choice; False if the cache cannot be written."""
        values: dict[str, Any] = {
            "of": self._stated,
            "chosen": asdict(chosen),
            "milliseconds": dict(times_ms),
            "refusals": list(refusals),
        }
        try:
            write_atomically(self.path, json.dumps(values, indent=2).encode())
        except (OSError, OutputError):
            return False
        return True

    def forget(self) -> None:
        """Delete the file: the choice has turned out to be wrong."""
        with suppress(OSError, OutputError):
            self.path.unlink(missing_ok=True)

    @property
    def path(self) -> Path:
        """Of the file; OutputError if this user has no cache."""
        text = json.dumps(self._stated, sort_keys=True)
        digits = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
        return cache_folder("choices") / f"{digits}.json"
