"""The CUDA runtime through cuda-bindings: every call is checked, every resource has an owner.

The only file that imports ``cuda``. Names and orders of the calls: CUDA Runtime API 11.4 to 13.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import EngineError

_DRIVER_LIBRARY = "libcuda.so.1"
_DRIVER_VERSIONS = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
_DEVICE = 0
"""The first of those that CUDA_VISIBLE_DEVICES leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A CUDA device.

    Attributes:
        name, compute_capability: such as ``Orin`` and ``8.7``.
        driver: the CUDA version that the driver supports, and the version of the kernel module.
        is_integrated: whether it shares the memory of the host, as on a Jetson.
    """

    name: str
    compute_capability: str
    driver: str
    is_integrated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Buffer:
    """Memory of one tensor.

    Attributes:
        host: the array that the program reads and writes, page-locked.
        device: address that the GPU uses; that of ``host`` itself where memory is shared.
        is_shared: whether no copy is needed.
    """

    host: npt.NDArray
    device: int
    is_shared: bool


def has_driver() -> bool:
    """Whether the library of an NVIDIA driver can be loaded."""
    try:
        ctypes.CDLL(_DRIVER_LIBRARY)
    except OSError:
        return False
    return True


class Cuda:
    """The first CUDA device.

    Args:
        uses_graphs: whether work may be captured, see `captured`.

    Raises:
        EngineError: no driver, no device, or a driver that is too old; names which.
        ModuleNotFoundError: there is a driver, but cuda-bindings is not installed.
    """

    def __init__(self, uses_graphs: bool = True) -> None:
        self.uses_graphs = uses_graphs
        if not has_driver():
            raise EngineError(f"no NVIDIA driver on this machine ({_DRIVER_LIBRARY} is missing)")
        self._runtime = _imported_runtime()
        if self.call("cudaGetDeviceCount") == 0:
            raise EngineError("the NVIDIA driver finds no GPU (see CUDA_VISIBLE_DEVICES)")
        self.gpu = self._probed()

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function of the runtime; returns its result, None if there is none.

        Raises:
            EngineError: it failed; names the function and the reason.
        """
        error, *results = getattr(self._runtime, name)(*arguments)
        if int(error) != 0:
            raise EngineError(f"CUDA: {name} failed: {self._explained(error)}")
        return results[0] if results else None

    def constant(self, enumeration: str, name: str) -> Any:
        """A value of one of the runtime's enumerations."""
        return getattr(getattr(self._runtime, enumeration), name)

    def flag(self, name: str) -> int:
        """A flag, which the runtime defines as a plain number."""
        return int(getattr(self._runtime, name))

    def _explained(self, error: Any) -> str:
        try:
            texts = [
                getattr(self._runtime, name)(error)[1].decode()
                for name in ("cudaGetErrorName", "cudaGetErrorString")
            ]
        except Exception:  # the explanation must not hide the error
            return f"error {int(error)}"
        return f"{texts[0]} ({int(error)}): {texts[1]}"

    def _attribute(self, name: str) -> int:
        attribute = self.constant("cudaDeviceAttr", name)
        return int(self.call("cudaDeviceGetAttribute", attribute, _DEVICE))

    def _probed(self) -> Gpu:
        name = self.call("cudaGetDeviceProperties", _DEVICE).name
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        major, minor = (
            self._attribute(f"cudaDevAttrComputeCapability{part}") for part in ("Major", "Minor")
        )
        shares = self._attribute("cudaDevAttrIntegrated")
        shares &= self._attribute("cudaDevAttrCanMapHostMemory")
        version = int(self.call("cudaDriverGetVersion"))
        return Gpu(
            name=text.rstrip("\0"),
            compute_capability=f"{major}.{minor}",
            driver=f"{version // 1000}.{version % 1000 // 10} {_module_version()}".strip(),
            is_integrated=bool(shares),
        )

    # Resources; each is released when ``owner`` is closed.

    def stream(self, owner: ExitStack) -> Any:
        """A stream that does not wait for the default one."""
        flags = self.flag("cudaStreamNonBlocking")
        stream = self.call("cudaStreamCreateWithFlags", flags)
        owner.callback(self.call, "cudaStreamDestroy", stream)
        return stream

    def event(self, owner: ExitStack) -> Any:
        """An event on which a thread sleeps instead of spinning."""
        flags = self.flag("cudaEventBlockingSync") | self.flag("cudaEventDisableTiming")
        event = self.call("cudaEventCreateWithFlags", flags)
        owner.callback(self.call, "cudaEventDestroy", event)
        return event

    def buffer(self, owner: ExitStack, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Buffer:
        """Memory for a tensor: page-locked on the host, and on the device unless it is shared."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        shared = self.gpu.is_integrated
        flags = self.flag("cudaHostAllocMapped" if shared else "cudaHostAllocDefault")
        address = int(self.call("cudaHostAlloc", size, flags))
        owner.callback(self.call, "cudaFreeHost", address)
        memory = (ctypes.c_byte * size).from_address(address)
        host = np.ndarray(shape, dtype=np.dtype(dtype), buffer=memoryview(memory).cast("B"))
        if shared:
            device = int(self.call("cudaHostGetDevicePointer", address, 0))
        else:
            device = int(self.call("cudaMalloc", size))
            owner.callback(self.call, "cudaFree", device)
        return Buffer(host=host, device=device, is_shared=shared)

    # Work on a stream

    def upload(self, buffer: Buffer, stream: Any) -> None:
        """Copy a tensor to the device, when the work before it on the stream is done."""
        if not buffer.is_shared:
            self._copy(buffer.device, buffer.host.ctypes.data, buffer, "HostToDevice", stream)

    def download(self, buffer: Buffer, stream: Any) -> None:
        """Copy a tensor from the device, likewise."""
        if not buffer.is_shared:
            self._copy(buffer.host.ctypes.data, buffer.device, buffer, "DeviceToHost", stream)

    def _copy(self, to: int, source: int, buffer: Buffer, kind: str, stream: Any) -> None:
        direction = self.constant("cudaMemcpyKind", f"cudaMemcpy{kind}")
        self.call("cudaMemcpyAsync", to, source, buffer.host.nbytes, direction, stream)

    def wait(self, event: Any, stream: Any) -> None:
        """Sleep until the stream has done its work."""
        self.call("cudaEventRecord", event, stream)
        self.call("cudaEventSynchronize", event)

    def captured(self, owner: ExitStack, stream: Any, enqueue: Callable[[], None]) -> Any:
        """The work that ``enqueue`` puts on a stream, as a graph that `launch` repeats.

        Raises:
            EngineError: it cannot be captured; the stream can be used as before.
        """
        mode = self.constant("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
        self.call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        finally:
            graph = self.call("cudaStreamEndCapture", stream)
        try:
            executable = self.call("cudaGraphInstantiateWithFlags", graph, 0)
            owner.callback(self.call, "cudaGraphExecDestroy", executable)
        finally:
            self.call("cudaGraphDestroy", graph)
        return executable

    def launch(self, executable: Any, stream: Any) -> None:
        """Repeat a captured graph."""
        self.call("cudaGraphLaunch", executable, stream)


def _imported_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime  # before release 12.6 of the bindings
    return runtime


def _module_version() -> str:
    """Version of the driver's kernel module, empty if it states none (a Jetson may not)."""
    for path in _DRIVER_VERSIONS:
        try:
            words = path.read_text(encoding="utf-8", errors="replace").split()
        except OSError:
            continue
        for word in words:
            if word[0].isdigit() and "." in word:
                return word
    return ""
