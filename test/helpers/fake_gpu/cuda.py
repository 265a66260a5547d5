"""The CUDA runtime as cuda-bindings presents it: work is done when somebody waits for it.

Every resource is known by its handle: use after release, a second release and a copy beyond the
end of a buffer fail the test. Device memory is ordinary memory that the program must not touch.
"""

from __future__ import annotations

import ctypes
import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

Work = Callable[[], None]

SUCCESS, INSUFFICIENT_DRIVER, LAUNCH_FAILED = 0, 35, 719
CAPTURE_INVALIDATED = 901


@dataclass(frozen=True)
class Handle:
    """What the bindings return for a stream, an event or a graph: no number, but one inside."""

    number: int

    def __int__(self) -> int:
        return self.number


class FakeCuda:
    """The functions of ``cuda.bindings.runtime`` that the engine may use.

    Args:
        devices: number of GPUs.
        integrated: whether the GPU shares the memory of the host.
    """

    cudaStreamNonBlocking = 1
    cudaEventBlockingSync, cudaEventDisableTiming = 1, 2
    cudaHostAllocDefault, cudaHostAllocMapped = 0, 2
    cudaMemcpyKind = enum.IntEnum("cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1,
                                                     "cudaMemcpyDeviceToHost": 2})  # fmt: skip
    cudaStreamCaptureMode = enum.IntEnum(
        "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
    )
    cudaDeviceAttr = enum.IntEnum(
        "cudaDeviceAttr",
        {
            "cudaDevAttrIntegrated": 18,
            "cudaDevAttrCanMapHostMemory": 19,
            "cudaDevAttrComputeCapabilityMajor": 75,
            "cudaDevAttrComputeCapabilityMinor": 76,
        },
    )

    def __init__(self, devices: int = 1, integrated: bool = False) -> None:
        self.devices, self.integrated = devices, integrated
        self.was_probed = False
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.failures: dict[str, tuple[int, int]] = {}  # name: (number of the call, error)
        self.live: dict[Handle | int, str] = {}
        self.released: list[str] = []
        self._memory: dict[int, Any] = {}
        self._size: dict[int, int] = {}
        self._queues: dict[Handle, list[Work]] = {}
        self._captures: dict[Handle, list[Work]] = {}
        self._graphs: dict[Handle, list[Work]] = {}
        self._next = 1000

    def __getattribute__(self, name: str) -> Any:
        """Count calls, and let the chosen one fail."""
        found = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(found) or isinstance(found, type):
            return found

        def counted(*arguments: Any) -> tuple:
            self.calls[name] += 1
            self.order.append(name)
            number, error = self.failures.get(name, (0, SUCCESS))
            if number == self.calls[name]:
                # What is released stays released, whatever the call returns.
                if name.startswith("cudaFree") or "Destroy" in name:
                    found(*arguments)
                if name == "cudaStreamEndCapture":
                    self._captures.pop(arguments[0], None)
                return (error, None)
            return found(*arguments)

        return counted

    # Device

    def cudaGetDeviceCount(self) -> tuple:
        self.was_probed = True
        return SUCCESS, self.devices

    def cudaGetDeviceProperties(self, device: int) -> tuple:
        return SUCCESS, SimpleNamespace(name=b"Fake Orin\0\0")

    def cudaDeviceGetAttribute(self, attribute: enum.IntEnum, device: int) -> tuple:
        return SUCCESS, {18: int(self.integrated), 19: 1, 75: 8, 76: 7}[int(attribute)]

    def cudaDriverGetVersion(self) -> tuple:
        return SUCCESS, 12060

    def cudaGetErrorName(self, error: int) -> tuple:
        return SUCCESS, b"cudaErrorOfTest"

    def cudaGetErrorString(self, error: int) -> tuple:
        return SUCCESS, b"a test asked for it"

    # Resources

    def _made(self, kind: str) -> Handle:
        self._next += 1
        handle = Handle(self._next)
        self.live[handle] = kind
        return handle

    def _release(self, handle: Handle | int, kind: str) -> tuple:
        assert self.live.pop(handle, None) == kind, f"{handle} is no live {kind}"
        self.released.append(kind)
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple:
        assert flags == self.cudaStreamNonBlocking
        stream = self._made("stream")
        self._queues[stream] = []
        return SUCCESS, stream

    def cudaStreamDestroy(self, stream: Handle) -> tuple:
        assert stream not in self._captures, "the stream is being captured"
        return self._release(stream, "stream")

    def cudaEventCreateWithFlags(self, flags: int) -> tuple:
        assert flags & self.cudaEventBlockingSync, "a thread would spin"
        return SUCCESS, self._made("event")

    def cudaEventDestroy(self, event: Handle) -> tuple:
        return self._release(event, "event")

    def _allocate(self, size: int, kind: str) -> int:
        assert size > 0
        memory = (ctypes.c_ubyte * size)()
        address = ctypes.addressof(memory)
        self._memory[address], self._size[address] = memory, size
        self.live[address] = kind
        return address

    def memory_at(self, address: int) -> Any:
        """The memory of a live buffer, for the work of others."""
        assert address in self.live
        return self._memory[address]

    def cudaHostAlloc(self, size: int, flags: int) -> tuple:
        assert flags == (self.cudaHostAllocMapped if self.integrated else 0)
        return SUCCESS, self._allocate(size, "host")

    def cudaFreeHost(self, address: int) -> tuple:
        return self._release(address, "host")

    def cudaMalloc(self, size: int) -> tuple:
        assert not self.integrated, "the memory is shared"
        return SUCCESS, self._allocate(size, "device")

    def cudaFree(self, address: int) -> tuple:
        return self._release(address, "device")

    def cudaHostGetDevicePointer(self, address: int, flags: int) -> tuple:
        assert self.integrated and self.live[address] == "host" and flags == 0
        return SUCCESS, address

    # Work

    def enqueue(self, number: int, work: Work) -> None:
        """As `put`, for a library that takes the number of a stream."""
        assert type(number) is int
        self.put(Handle(number), work)

    def put(self, stream: Handle, work: Work) -> None:
        """Add work to a stream, or to the graph that is captured from it."""
        assert self.live.get(stream) == "stream"
        self._captures.get(stream, self._queues[stream]).append(work)

    def is_capturing(self, stream: Handle) -> bool:
        return stream in self._captures

    def copy(self, to: int, source: int, count: int) -> None:
        """What the device does when its turn comes."""
        for address in (to, source):
            assert address in self.live and count == self._size[address]
        ctypes.memmove(to, source, count)

    def cudaMemcpyAsync(
        self, to: int, source: int, count: int, kind: Any, stream: Handle
    ) -> tuple:
        kinds = {1: ("device", "host"), 2: ("host", "device")}[int(kind)]
        assert (self.live[to], self.live[source]) == kinds
        self.put(stream, lambda: self.copy(to, source, count))
        return (SUCCESS,)

    def cudaEventRecord(self, event: Handle, stream: Handle) -> tuple:
        assert self.live[event] == "event" and not self.is_capturing(stream)
        self._recorded = stream
        return (SUCCESS,)

    def cudaEventSynchronize(self, event: Handle) -> tuple:
        assert self.live[event] == "event"
        queue = self._queues[self._recorded]
        while queue:
            queue.pop(0)()
        return (SUCCESS,)

    def cudaStreamBeginCapture(self, stream: Handle, mode: Any) -> tuple:
        assert not self._queues[stream], "capture begins on a stream that has work"
        self._captures[stream] = []
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream: Handle) -> tuple:
        work = self._captures.pop(stream)
        graph = self._made("graph")
        self._graphs[graph] = work
        return SUCCESS, graph

    def cudaGraphInstantiateWithFlags(self, graph: Handle, flags: int) -> tuple:
        assert self.live[graph] == "graph" and flags == 0
        executable = self._made("executable")
        self._graphs[executable] = self._graphs[graph]
        return SUCCESS, executable

    def cudaGraphDestroy(self, graph: Handle) -> tuple:
        return self._release(graph, "graph")

    def cudaGraphExecDestroy(self, executable: Handle) -> tuple:
        return self._release(executable, "executable")

    def cudaGraphLaunch(self, executable: Handle, stream: Handle) -> tuple:
        assert self.live[executable] == "executable"
        for work in self._graphs[executable]:
            self.put(stream, work)
        return (SUCCESS,)
