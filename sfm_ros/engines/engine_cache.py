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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sfm_ros.errors import EngineNotBuiltError, OutputError, UnsafeFileError
from sfm_ros.outputs.cache import NEW_SUFFIX, cache_folder, write_atomically
from sfm_ros.outputs.lock import FolderLock
from sfm_ros.safety.documents import parse_json
from sfm_ros.safety.files import open_regular

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
_OWN_NAMES = "[0-9a-f]" * _KEY_DIGITS + _SUFFIX
"""Pattern of the names that a cache gives to its files; all others belong to somebody else."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedEngine:
    """A file of a cache.

    Attributes:
        path: of the file.
        size: bytes.
        identity: None if the file is damaged.
        facts: what its builder noted: model, graph, seconds.
        fault: what is wrong with it, or empty.
        is_foreign: whether it does not begin as the files of a cache do; it is not ours to remove.
    """

    path: Path
    size: int
    identity: EngineIdentity | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""
    is_foreign: bool = False


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
        """All files under names of a cache, of this user first.

        Of a content that is ours only the size is checked.
        """
        found = []
        for folder in self._folders():
            if folder.is_dir():
                paths = sorted(folder.glob(_OWN_NAMES))
                found += [_read(path, header_only=True)[0] for path in paths]
        return found

    def is_writable(self) -> bool:
        """Whether this user may write its folder, or make it; OutputError if it has none."""
        folder = self.own
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(folder, os.W_OK)

    def remove(self, entry: CachedEngine) -> bool:
        """Delete a file of this user's folder; False if it is foreign, or in another folder."""
        if entry.is_foreign or entry.path.parent != self.own:
            return False
        entry.path.unlink(missing_ok=True)
        return True

    def remove_leftovers(self) -> None:
        """Delete what killed builders left; call it while the cache is `locked`."""
        for path in list(self.own.glob(f".{_OWN_NAMES}.*{NEW_SUFFIX}")):
            path.unlink(missing_ok=True)

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
    size, is_foreign = 0, True
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            is_foreign = stream.read(len(_MAGIC)) != _MAGIC
            header = _header(stream, size, is_foreign)
            plan = b"" if header_only else stream.read(header["bytes"])
        if not header_only and hashlib.sha256(plan).hexdigest() != header["sha256"]:
            raise ValueError("its content does not have the hash of its header")
        identity = EngineIdentity(**header["identity"])
        if _file_name(identity) != path.name:
            raise ValueError("it bears the name of another engine")
        facts = dict(header["facts"])
    except (OSError, UnsafeFileError, ValueError, TypeError, LookupError) as error:
        fault = f"is damaged: {error}"
        return CachedEngine(path=path, size=size, fault=fault, is_foreign=is_foreign), b""
    return CachedEngine(path=path, size=size, identity=identity, facts=facts), plan


def _header(stream: BinaryIO, size: int, is_foreign: bool) -> dict[str, Any]:
    """What follows the magic; ValueError if the file is not one of ours, or of another length."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if is_foreign or length > _LARGEST_HEADER:
        raise ValueError("it is not an engine of this program")
    header = parse_json(stream.read(length).decode("utf-8"))
    if size > _LARGEST_FILE:
        raise ValueError(f"it has more than {_LARGEST_FILE} bytes")
    held = size - len(_MAGIC) - _LENGTH_BYTES - length
    if held != header["bytes"]:
        raise ValueError(f"it holds {held} bytes, expected {header['bytes']}")
    return header
