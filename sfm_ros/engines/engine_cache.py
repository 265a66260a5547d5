"""Compiled engines on disk: each is found by what it was built from and for, and by nothing else.

An engine that was built on another GPU, driver or TensorRT loads without an error there and may
compute something else. So its file is named by a hash of everything it depends on, states it again
in its header, and carries the hash of its content: TensorRT never sees another file.

A file: magic, length of the header (4 bytes, little endian), header (JSON), plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sfm_ros.errors import EngineNotBuiltError, OutputError, UnsafeFileError
from sfm_ros.outputs.cache import NEW_SUFFIX, cache_folder, write_atomically
from sfm_ros.outputs.lock import FolderLock
from sfm_ros.safety.documents import parse_json
from sfm_ros.safety.files import read_bytes

OWN_FOLDER = "SFM_ENGINE_CACHE"
SHARED_FOLDERS = "SFM_SHARED_ENGINE_CACHE"
"""Environment variables: the folder that is written, and those that are only read, with colons."""

OnWait = Callable[[str], object]

_MAGIC = b"SFMENG1\n"
_SUFFIX = ".engine"
_LENGTH_BYTES = 4
_LARGEST_HEADER = 2**16
_LARGEST_FILE = 2**32
_KEY_DIGITS = 24
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineIdentity:
    """Everything an engine depends on.

    Attributes:
        onnx_sha256: of the graph.
        library, library_version: ``TensorRT`` or ``TensorRT-RTX``.
        gpu, compute_capability, driver: the device, as its driver states it.
        precision: see ``model.precision``.
        shapes: inputs of the graph with their shapes.
        flags: how it was built.
    """

    onnx_sha256: str
    library: str
    library_version: str
    gpu: str
    compute_capability: str
    driver: str
    precision: str
    shapes: str
    flags: str

    @property
    def key(self) -> str:
        """Hexadecimal hash of all of it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]

    def differences(self, other: EngineIdentity) -> list[str]:
        """Names of the parts that differ."""
        names = [f.name for f in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedEngine:
    """A file of a cache.

    Attributes:
        path: of the file.
        size: bytes.
        identity: None if the file is damaged.
        facts: what its builder noted: model, graph, seconds.
        fault: what is wrong with it, or empty.
    """

    path: Path
    size: int
    identity: EngineIdentity | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


class EngineCache:
    """Engines in a folder of this user, and in shared folders that are only read.

    Args:
        own: folder that is written; by default ``$SFM_ENGINE_CACHE``, else ``engines`` in the
            user's cache.
        shared: folders that are searched as well; by default ``$SFM_SHARED_ENGINE_CACHE``.
    """

    def __init__(self, own: Path | None = None, shared: Sequence[Path] | None = None) -> None:
        self._own = own or _path_of(OWN_FOLDER)
        self._shared = _shared_folders() if shared is None else list(shared)

    @property
    def own(self) -> Path:
        """The folder that is written; OutputError if this user has none."""
        return self._own or cache_folder("engines")

    def load(self, identity: EngineIdentity) -> bytes:
        """The plan with exactly this identity.

        Raises:
            EngineNotBuiltError: there is none, or its files are damaged.
        """
        faults = []
        for folder in self._folders():
            path = folder / _file_name(identity)
            if not path.exists():
                continue
            entry, plan = _read(path)
            if not entry.fault and entry.identity == identity:
                return plan
            faults.append(f"{path} {entry.fault or 'belongs to another engine'}")
        reason = "; ".join(faults) or "none is cached for this model, GPU, driver and library"
        raise EngineNotBuiltError(f"no engine to load: {reason}; build it with sfm_build_engine")

    def store(self, identity: EngineIdentity, plan: bytes, facts: Mapping[str, Any]) -> Path:
        """Write an engine, in one step; returns its path.

        Args:
            identity: of the engine.
            plan: as the library serialized it.
            facts: notes that `entries` returns.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        path = self.own / _file_name(identity)
        header = json.dumps(
            {
                "identity": asdict(identity),
                "sha256": hashlib.sha256(plan).hexdigest(),
                "bytes": len(plan),
                "facts": {"written": int(time.time()), **facts},
            }
        ).encode()
        try:
            write_atomically(
                path, _MAGIC, len(header).to_bytes(_LENGTH_BYTES, "little"), header, plan
            )
        except OSError as error:
            raise _unwritable(self.own, error) from error
        return path

    def entries(self) -> list[CachedEngine]:
        """All files, of this user first; their content is not checked but for its size."""
        found = []
        for folder in self._folders():
            if folder.is_dir():
                paths = sorted(folder.glob(f"*{_SUFFIX}"))
                found += [_read(path, header_only=True)[0] for path in paths]
        return found

    def is_writable(self) -> bool:
        """Whether this user may write its folder, or make it; OutputError if it has none."""
        folder = self.own
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(folder, os.W_OK)

    def remove(self, entry: CachedEngine) -> bool:
        """Delete a file of this user's folder; False if it is in another one."""
        if entry.path.parent != self.own:
            return False
        entry.path.unlink(missing_ok=True)
        return True

    def remove_leftovers(self) -> int:
        """Delete what killed builders left; call it while the cache is `locked`."""
        leftovers = list(self.own.glob(f".*{NEW_SUFFIX}"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    @contextmanager
    def locked(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Build while no other process does; waits for one that does.

        Args:
            on_wait: called once, with the reason, before it waits.

        Raises:
            OutputError: the folder cannot be written.
        """
        lock = self._acquired(on_wait)
        try:
            yield
        finally:
            lock.release()

    def _acquired(self, on_wait: OnWait | None) -> FolderLock:
        while True:
            try:
                self.own.mkdir(parents=True, exist_ok=True)
                return FolderLock(self.own)
            except OSError as error:
                raise _unwritable(self.own, error) from error
            except OutputError as error:
                if on_wait is not None:
                    on_wait(str(error))
                    on_wait = None
            time.sleep(_POLL_S)

    def _folders(self) -> list[Path]:
        own: list[Path] = []
        with suppress(OutputError):  # no home: the shared folders remain
            own = [self.own]
        return [*own, *self._shared]


def _path_of(variable: str) -> Path | None:
    text = os.environ.get(variable, "")
    return Path(text).expanduser() if text else None


def _shared_folders() -> list[Path]:
    texts = os.environ.get(SHARED_FOLDERS, "").split(os.pathsep)
    return [Path(text).expanduser() for text in texts if text]


def _file_name(identity: EngineIdentity) -> str:
    return f"{identity.key}{_SUFFIX}"


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the engine cache {folder}: {error.strerror or error}; make room or make it "
        f"writable, or name another folder in {OWN_FOLDER}"
    )


def _read(path: Path, header_only: bool = False) -> tuple[CachedEngine, bytes]:
    """A file and its plan; the plan is empty if something is wrong, or if it is not asked for."""
    size = 0
    try:
        size = path.stat().st_size
        data = read_bytes(path, _LARGEST_FILE)
        header, plan = _parsed(data)
        if not header_only and hashlib.sha256(plan).hexdigest() != header["sha256"]:
            raise ValueError("its content does not have the hash of its header")
        identity = EngineIdentity(**header["identity"])
        if _file_name(identity) != path.name:
            raise ValueError("it bears the name of another engine")
        facts = dict(header["facts"])
    except (OSError, UnsafeFileError, ValueError, TypeError, LookupError) as error:
        return CachedEngine(path=path, size=size, fault=f"is damaged: {error}"), b""
    entry = CachedEngine(path=path, size=size, identity=identity, facts=facts)
    return entry, b"" if header_only else plan


def _parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and plan; ValueError if the file is not one of ours, or shorter than it should be."""
    start = len(_MAGIC) + _LENGTH_BYTES
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise ValueError("it is not an engine of this program")
    length = int.from_bytes(data[len(_MAGIC) : start], "little")
    if length > _LARGEST_HEADER:
        raise ValueError("it is not an engine of this program")
    header = parse_json(data[start : start + length].decode("utf-8"))
    plan = data[start + length :]
    if len(plan) != header["bytes"]:
        raise ValueError(f"it holds {len(plan)} bytes, expected {header['bytes']}")
    return header, plan
