"""Builds the plan of one graph.

The precision is inside the graph (FP16 tensors, Q/DQ nodes): strongly typed networks are the only
ones that TensorRT 11 and TensorRT-RTX know, and TensorRT 10 has them too. Version 8 chooses types
by flags. Shapes are fixed, so no profile is needed. TF32 is left on, as in other libraries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sfm_ros.engines.tensorrt.library import Library
from sfm_ros.errors import EngineError

OnProgress = Callable[[float], bool]
"""Called with the share of the build that is done; False asks it to end."""

_WORKSPACE_MIB = 1024
_FLAGS_OF_PRECISION = {"fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Of version 8, which ignores the types of the graph without them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltPlan:
    """What a build yields.

    Attributes:
        plan: the serialized engine.
        timings: measured times of kernels, for the next build; empty if there are none.
    """

    plan: bytes
    timings: bytes = b""


def build_flags(library: Library) -> str:
    """How `build_plan` builds, as a part of an engine's identity."""
    typing = "types by flags" if library.infers_types else "strongly typed"
    return f"{typing}, TF32, workspace {_WORKSPACE_MIB} MiB"


def build_plan(
    library: Library,
    graph: bytes,
    precision: str,
    on_progress: OnProgress = lambda share: True,
    timings: bytes = b"",
) -> BuiltPlan:
    """Parse a graph and build it.

    TensorRT needs the GPU for it, and TensorRT-RTX does not.

    Args:
        library: the installed TensorRT.
        graph: an ONNX file.
        precision: of the graph.
        on_progress: reports, where the library does (from version 10 on).
        timings: of an earlier build on this GPU.

    Raises:
        EngineError: the graph cannot be parsed (names the nodes), or the build failed or ended.
    """
    trt = library.trt
    library.log.take()
    builder = trt.Builder(library.log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, library.log)
    if not parser.parse(graph):
        raise EngineError(_parser_errors(library, parser))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_MIB * 2**20)
    if library.infers_types:
        for name in _FLAGS_OF_PRECISION.get(precision, ()):
            config.set_flag(getattr(trt.BuilderFlag, name))
    cache = None if library.is_rtx else config.create_timing_cache(timings)
    if cache is not None:
        config.set_timing_cache(cache, False)
    monitor = _monitor(trt, on_progress)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise EngineError(f"{library.name} {library.version} did not build: {library.log.take()}")
    return BuiltPlan(plan=bytes(plan), timings=b"" if cache is None else bytes(cache.serialize()))


def _network_flags(trt: Any) -> int:
    """Version 8 requires EXPLICIT_BATCH, 11 has it no longer; STRONGLY_TYPED is since 10."""
    flags = 0
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        if flag is not None:
            flags |= 1 << int(flag)
    return flags


def _parser_errors(library: Library, parser: Any) -> str:
    errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    texts = "; ".join(dict.fromkeys(errors)) or library.log.take()
    return (
        f"{library.name} {library.version} cannot run this graph: {texts}; export the model again "
        "with training/export.py, or use another engine"
    )


def _parser_error(error: Any) -> str:
    """An error with the name of the node, which version 8 does not state by itself."""
    lines = str(error.desc()).strip().splitlines() or ["no description"]
    name = getattr(error, "node_name", None)
    if name is None:
        return f"node {error.node()}: {' '.join(lines[:2])}"
    detail = lines[1] if lines[0].startswith("Invalid Node") and len(lines) > 1 else lines[0]
    operator = error.node_operator()
    return f"node '{name()}' ({operator}): {detail}" if operator else detail


def _monitor(trt: Any, on_progress: OnProgress) -> Any:
    """Reports the share that is done, or None where the library cannot."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):
        """Called by the library, through which no exception may pass: it is kept."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._progress = BuildProgress()
            self.error: BaseException | None = None

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._progress.start(phase, parent, steps)

        def phase_finish(self, phase: str) -> None:
            self._progress.finish(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                self._progress.step(phase, step)
                return on_progress(self._progress.share)
            except BaseException as error:
                self.error = error
                return False

    return Monitor()


class BuildProgress:
    """The share of a build that is done; it never falls.

    Phases lie within each other: a phase is one step of the phase that holds it. The library may
    report from several threads at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._parent: dict[str, str | None] = {}
        self.share = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._steps[phase], self._done[phase] = max(steps, 1), 0
            self._parent[phase] = parent

    def step(self, phase: str, step: int) -> None:
        """A step of a phase, counted from 0, is done."""
        with self._lock:
            self._done[phase] = step + 1
            outer = [name for name, parent in self._parent.items() if parent is None]
            self.share = max([self.share, *map(self._within, outer)])

    def finish(self, phase: str) -> None:
        """A phase ends; the library reports the step of its parent by itself."""
        with self._lock:
            self._parent.pop(phase, None)

    def _within(self, phase: str) -> float:
        """Of a phase: its finished steps, and the part of the next one that is done."""
        inner = [self._within(name) for name, parent in self._parent.items() if parent == phase]
        return min((self._done[phase] + max(inner, default=0.0)) / self._steps[phase], 1.0)
