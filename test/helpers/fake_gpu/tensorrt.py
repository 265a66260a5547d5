"""TensorRT 8.6, 10, 11 and RTX as their bindings present them: each has what that version has.

A plan is JSON: its inputs and outputs, and which of `NETWORKS`, or the path of which ONNX file,
computes them. What a version does not have raises AttributeError, as in the real module.
"""

from __future__ import annotations

import enum
import itertools
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fake_gpu.cuda import FakeCuda, Handle

Arrays = dict[str, npt.NDArray]

VERSIONS = {"8.6": "8.6.2", "10": "10.3.0", "11": "11.4.0.106", "RTX": "1.7.1.116"}
_NUMPY = {"UINT8": np.uint8, "FLOAT": np.float32}
_BUILDER_FLAGS = {
    "8.6": ("FP16", "INT8", "TF32"),
    "10": ("FP16", "INT8", "TF32"),
    "11": ("TF32",),
    "RTX": ("TF32",),
}
_NETWORK_FLAGS = {
    "8.6": {"EXPLICIT_BATCH": 0},
    "10": {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1},
    "11": {"STRONGLY_TYPED": 1},
    "RTX": {"STRONGLY_TYPED": 1},
}


def depth_network(given: Arrays) -> Arrays:
    """Depth = red + 1, and features = mean of each channel."""
    rgb = given["rgb"].astype(np.float32)
    return {"depth": rgb[..., 0] + 1, "features": rgb.mean((1, 2))[:, :, None, None]}


def pose_network(given: Arrays) -> Arrays:
    """Motion along z by the difference of the mean red of neighboring frames."""
    ((name, value),) = given.items()
    axes = (3, 4) if name == "features" else (2, 3)
    red = value.astype(np.float64).mean(axes)[..., 0]
    T = np.tile(np.eye(4, dtype=np.float32), (1, red.shape[1] - 1, 1, 1))
    T[0, :, 2, 3] = np.diff(red[0])
    return {"T_source_target": T}


NETWORKS: dict[str, Callable[[Arrays], Arrays]] = {"depth": depth_network, "pose": pose_network}


def onnx_network(path: str) -> Callable[[Arrays], Arrays]:
    """Computes a graph, as TensorRT would."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda given: dict(zip(names, session.run(names, given), strict=True))


def plan_of(network: str, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> bytes:
    """A plan; tensors are given by name as (type, shape)."""
    return json.dumps({"network": network, "inputs": inputs, "outputs": outputs}).encode()


class FakeTensorRt(ModuleType):
    """A version of the module.

    Args:
        kind: key of `VERSIONS`.
        cuda: the device.

    Attributes:
        log: calls in their order, and what was set.
        alive: objects of the library that exist.
        faults: what was done in a wrong order, where no exception can be raised.
        parse_errors, built: what parsing and building yield.
        plans: what building yields for certain graphs, instead of ``built``.
        executions: how often a context was executed, in a capture or not.
    """

    def __init__(self, kind: str, cuda: FakeCuda) -> None:
        super().__init__("tensorrt_rtx" if kind == "RTX" else "tensorrt")
        self.__version__ = VERSIONS[kind]
        self.kind, self.cuda = kind, cuda
        self.log: list[Any] = []
        self.alive: list[str] = []
        self.faults: list[str] = []
        self.parse_errors: list[Any] = []
        self.built: bytes | None = b"{}"
        self.plans: dict[bytes, Callable[[], bytes]] = {}
        self.executions = 0
        self.DataType = enum.IntEnum("DataType", {"FLOAT": 0, "HALF": 1, "INT8": 2, "UINT8": 5})
        self.TensorIOMode = enum.IntEnum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2})
        self.MemoryPoolType = enum.IntEnum("MemoryPoolType", {"WORKSPACE": 0})
        self.BuilderFlag = enum.IntEnum("BuilderFlag", _BUILDER_FLAGS[kind])
        self.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", _NETWORK_FLAGS[kind])
        self.ILogger = _Logger
        self.Builder = lambda log: _Builder(self, log)
        self.OnnxParser = lambda network, log: _Parser(self, network, log)
        self.Runtime = lambda log: _Runtime(self, log)
        if kind != "8.6":
            self.IProgressMonitor = _Monitor


class _Logger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3

    def __init__(self) -> None:
        self.is_initialized = True


class _Monitor:
    def __init__(self) -> None:
        self.is_initialized = True


class ParserError:
    """Of a node; version 8.6 states only its number."""

    def __init__(self, kind: str, number: int, name: str, operator: str, text: str) -> None:
        self._values = number, text
        if kind != "8.6":
            self.node_name = lambda: name
            self.node_operator = lambda: operator

    def node(self) -> int:
        return self._values[0]

    def desc(self) -> str:
        return self._values[1]


class _Builder:
    def __init__(self, trt: FakeTensorRt, log: _Logger) -> None:
        assert log.is_initialized
        self._trt, self._log = trt, log

    def create_network(self, flags: int) -> _Network:
        names = [f.name for f in self._trt.NetworkDefinitionCreationFlag if flags & 1 << int(f)]
        assert flags == sum(1 << int(self._trt.NetworkDefinitionCreationFlag[n]) for n in names)
        if self._trt.kind == "8.6":
            assert "EXPLICIT_BATCH" in names
        self._trt.log.append(("network", names))
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config(self._trt)

    def build_serialized_network(self, network: _Network, config: _Config) -> Any:
        trt = self._trt
        trt.log.append(("build", config.flags, config.timings))
        monitor = config.progress_monitor
        if monitor is not None:
            assert monitor.is_initialized
            monitor.phase_start("Building", None, 2)
            going = all(monitor.step_complete("Building", step) for step in range(2))
            monitor.phase_finish("Building")
            if not going:
                self._log.log(self._log.Severity.ERROR, "Build canceled\n by user")
                return None
        if trt.built is None:
            self._log.log(self._log.Severity.WARNING, "not an error")
            self._log.log(self._log.Severity.ERROR, "no kernel for\n  this layer")
        return trt.plans[network.graph]() if network.graph in trt.plans else trt.built


class _Network:
    graph = b""


class _Config:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt
        self.flags: list[str] = []
        self.timings: bytes | None = None
        self.progress_monitor: Any = None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert pool == self._trt.MemoryPoolType.WORKSPACE and size > 0

    def set_flag(self, flag: Any) -> None:
        assert self._trt.kind == "8.6", "a strongly typed network takes no flags of precision"
        self.flags.append(flag.name)

    def create_timing_cache(self, content: bytes) -> _Timings:
        assert self._trt.kind != "RTX", "TensorRT-RTX has no timing cache"
        return _Timings(content)

    def set_timing_cache(self, cache: _Timings, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.timings = cache.content
        return True


class _Timings:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+"


class _Parser:
    def __init__(self, trt: FakeTensorRt, network: _Network, log: _Logger) -> None:
        self._trt, self._network = trt, network

    def parse(self, graph: bytes) -> bool:
        self._network.graph = graph
        self._trt.log.append(("parse", len(graph)))
        return not self._trt.parse_errors

    @property
    def num_errors(self) -> int:
        return len(self._trt.parse_errors)

    def get_error(self, index: int) -> Any:
        return self._trt.parse_errors[index]


class _Alive:
    """An object of the library; those it was made from must outlive it."""

    def __init__(self, trt: FakeTensorRt, name: str) -> None:
        self._trt, self._name = trt, f"{name} {next(_number)}"
        trt.alive.append(self._name)

    def __del__(self) -> None:
        if self._trt.alive[-1:] != [self._name]:
            self._trt.faults.append(f"{self._name} is deleted while {self._trt.alive} exist")
        self._trt.alive.remove(self._name)


_number = itertools.count()


class _Runtime(_Alive):
    def __init__(self, trt: FakeTensorRt, log: _Logger) -> None:
        if not trt.cuda.was_probed:
            raise SystemExit("the real one ends the process here")
        super().__init__(trt, "runtime")
        self._log = log

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        try:
            return _Engine(self._trt, json.loads(plan))
        except ValueError:
            self._log.log(self._log.Severity.ERROR, "the plan is of\n another version")
            return None


class _Engine(_Alive):
    def __init__(self, trt: FakeTensorRt, plan: dict) -> None:
        super().__init__(trt, "engine")
        self.plan = plan
        self.tensors = {**plan["inputs"], **plan["outputs"]}
        self.num_io_tensors = len(self.tensors)
        if trt.kind == "RTX":
            self.create_runtime_config = lambda: _RuntimeConfig(trt)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name][1])

    def get_tensor_dtype(self, name: str) -> Any:
        return self._trt.DataType[self.tensors[name][0]]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self._trt.TensorIOMode
        return modes.INPUT if name in self.plan["inputs"] else modes.OUTPUT

    def create_execution_context(self, *config: Any) -> Context:
        return Context(self._trt, self, *config)


class _RuntimeConfig:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt
        self.cache: _KernelCache | None = None

    def create_runtime_cache(self) -> _KernelCache:
        return _KernelCache()

    def set_runtime_cache(self, cache: _KernelCache) -> bool:
        self.cache = cache
        return True


class _KernelCache:
    content = b""

    def deserialize(self, content: bytes) -> bool:
        self.content = content
        return True

    def serialize(self) -> bytes:
        return self.content or b"kernels"


class Context(_Alive):
    def __init__(self, trt: FakeTensorRt, engine: _Engine, config: Any = None) -> None:
        super().__init__(trt, "context")
        assert (config is not None) == (trt.kind == "RTX")
        if trt.kind == "RTX":
            self.is_stream_capturable = lambda stream: True
            trt.log.append(("kernels", config.cache.content))
        self._plan, self._tensors = engine.plan, engine.tensors
        name = self._plan["network"]
        self._network = NETWORKS[name] if name in NETWORKS else onnx_network(name)
        self._addresses: dict[str, int] = {}
        self._has_run = False

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self._tensors
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        cuda = self._trt.cuda
        assert set(self._addresses) == set(self._tensors), "a tensor has no address"
        assert self._has_run or not cuda.is_capturing(Handle(stream)), "the first run sets up"
        self._has_run = True
        self._trt.executions += 1
        plan, views = self._plan, {name: self._view(name) for name in self._tensors}
        network = self._network

        def compute() -> None:
            results = network({name: views[name] for name in plan["inputs"]})
            for name in plan["outputs"]:
                views[name][...] = results[name].reshape(views[name].shape)

        cuda.enqueue(stream, compute)
        return True

    def _view(self, name: str) -> npt.NDArray:
        kind, shape = self._tensors[name]
        address = self._addresses[name]
        expected = "host" if self._trt.cuda.integrated else "device"
        assert self._trt.cuda.live[address] == expected
        memory = self._trt.cuda.memory_at(address)
        return np.frombuffer(memory, _NUMPY[kind]).reshape(shape)
