"""Builds the engines of a bundle into the cache, and compares them with a reference."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sfm_ros.config import ModelConfig
from sfm_ros.engines.engine_cache import EngineCache, EngineIdentity
from sfm_ros.engines.parity import LIMITS, ParityResult, check_parity
from sfm_ros.engines.registry import load_engine
from sfm_ros.engines.tensorrt.builder import build_plan
from sfm_ros.engines.tensorrt.cuda import Cuda, Gpu
from sfm_ros.engines.tensorrt.gate import record, require_accepted
from sfm_ros.engines.tensorrt.identity import engine_identities, timings_identity
from sfm_ros.engines.tensorrt.library import Library, load_library
from sfm_ros.engines.tensorrt_engine import TensorRtEngine
from sfm_ros.errors import EngineError, EngineNotBuiltError, OutputError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.outputs.folder import require_room
from sfm_ros.safety.files import read_bytes
from sfm_ros.safety.limits import BINARY_FILE

_REFERENCE = "onnx"


class Report(Protocol):
    """Takes what happens during a build."""

    def begin(self, graph: str, expected_s: float | None) -> None:
        """A graph is built; it took so long the last time."""

    def advance(self, share: float) -> bool:
        """Share of the build that is done; False ends it."""

    def end(self) -> None:
        """The build of the graph has ended."""

    def note(self, text: str) -> None:
        """A line for a person."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What engines are built for: the library, and the GPU if there is one."""

    library: Library
    gpu: Gpu | None


def this_machine() -> Machine:
    """The library and the GPU of this machine; TensorRT-RTX builds without a GPU.

    Raises:
        EngineError: there is no GPU, and TensorRT needs one; or a library cannot be loaded.
        ModuleNotFoundError: TensorRT or cuda-bindings is not installed.
    """
    library = load_library()
    try:
        return Machine(library, Cuda().gpu)
    except (EngineError, ModuleNotFoundError):
        if not library.is_rtx:
            raise
    return Machine(library, None)


class BundleBuilder:
    """Builds the engines of one bundle in one precision.

    Args:
        bundle: its folder.
        precision: ``fp32`` or a variant of the bundle for GPUs.
        machine: that they are built for.
        cache: where they are kept.
        report: takes the progress.

    Raises:
        ModelError: the bundle is damaged, or has no such variant.
        EngineError: the precision is not one of TensorRT's, or a GPU is needed.
    """

    def __init__(
        self, bundle: Path, precision: str, machine: Machine, cache: EngineCache, report: Report
    ) -> None:
        self._bundle, self._machine, self._cache, self._report = bundle, machine, cache, report
        self._config = ModelConfig(bundle=str(bundle), engine="tensorrt", precision=precision)
        self._spec = ModelSpec.load(bundle)
        graphs = self._spec.graphs(precision)
        self._files = (graphs.depth_file, graphs.pose_file)
        self._precision = precision
        self._identities = engine_identities(machine.library, machine.gpu, self._spec, precision)

    @property
    def can_compare(self) -> bool:
        """Whether there is a GPU to run the engines on."""
        return self._machine.gpu is not None

    def build(self, force: bool = False) -> list[str]:
        """Build what is missing; returns the files of the graphs that were built.

        Args:
            force: build everything.

        Raises:
            EngineError: a graph cannot be built; names the nodes.
            OutputError: the cache cannot be written.
        """
        if not force and not self._missing():
            return []  # where the cache may not be writable
        with self._cache.locked(self._report.note):
            missing = self._all() if force else self._missing()
            for identity, file in missing:
                self._build(identity, file)
        return [file for _, file in missing]

    def _all(self) -> list[tuple[EngineIdentity, str]]:
        return list(zip(self._identities, self._files, strict=True))

    def _missing(self) -> list[tuple[EngineIdentity, str]]:
        return [
            (identity, file) for identity, file in self._all() if not self._is_cached(identity)
        ]

    def compare(self, force: bool = False) -> ParityResult | None:
        """Compare the engines with ONNX Runtime in FP32, and keep the result.

        Args:
            force: compare even if that was done before.

        Returns:
            The result; None if they have passed before, or without a GPU.

        Raises:
            EngineError: they were refused before, or an engine cannot be run.
        """
        gpu = self._machine.gpu
        if gpu is None:
            return None
        if not force:
            with suppress(EngineNotBuiltError):
                require_accepted(self._cache, self._identities, gpu)
                return None
        reference = load_engine(_REFERENCE, self._bundle, ModelConfig(precision="fp32"))
        with closing(reference):
            candidate = TensorRtEngine(self._bundle, self._config, self._cache, is_checked=False)
            with closing(candidate):
                result = check_parity(candidate, reference, LIMITS[self._precision])
        record(self._cache, self._identities, gpu, result)
        return result

    def _is_cached(self, identity: EngineIdentity) -> bool:
        try:
            self._cache.load(identity)
        except EngineNotBuiltError:
            return False
        return True

    def _build(self, identity: EngineIdentity, file: str) -> None:
        library = self._machine.library
        path = self._bundle / file
        # Noticed now, not after minutes; a plan is about as large as its graph.
        require_room(self._cache.own, path.stat().st_size)
        self._report.begin(file, self._expected_s(file))
        started = time.monotonic()
        try:
            graph = read_bytes(path, BINARY_FILE)
            built = build_plan(
                library, graph, self._precision, self._report.advance, self._timings()
            )
        finally:
            self._report.end()
        facts = {
            "model": self._spec.name,
            "graph": file,
            "seconds": round(time.monotonic() - started, 1),
        }
        self._cache.store(identity, built.plan, facts)
        if built.timings:
            with suppress(OutputError):  # the engine is there; the next build takes longer
                timings = timings_identity(identity)
                self._cache.store(timings, built.timings, {"graph": "timings"})

    def _timings(self) -> bytes:
        try:
            return self._cache.load(timings_identity(self._identities[0]))
        except EngineNotBuiltError:
            return b""

    def _expected_s(self, file: str) -> float | None:
        """How long a build of such a file took on this GPU, by any version."""
        seconds = [
            entry.facts["seconds"]
            for entry in self._cache.entries()
            if entry.identity is not None
            and entry.identity.gpu == self._identities[0].gpu
            and entry.identity.library == self._identities[0].library
            and entry.facts.get("graph") == file
            and isinstance(entry.facts.get("seconds"), (int, float))
        ]
        return max(seconds, default=None)
