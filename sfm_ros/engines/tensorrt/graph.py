"""Runs the plan of one graph: fixed buffers, a stream of its own, one CUDA graph for all of it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.engines.contract import Port, Ports
from sfm_ros.engines.tensorrt.cuda import Buffer, Cuda
from sfm_ros.engines.tensorrt.library import Library
from sfm_ros.errors import EngineError


class CompiledGraph:
    """A plan on the GPU.

    `start` returns at once, so that the other graph can run beside it on its own stream; `finish`
    waits. After one run, upload, inference and download are captured as one CUDA graph.

    Args:
        cuda: the device; made before anything of TensorRT is.
        library: that built the plan.
        plan: the serialized engine.
        file: name of the graph, for messages.
        kernels: what TensorRT-RTX compiled for this GPU when it loaded the plan the last time.

    Attributes:
        kernels: what it compiled now; empty for TensorRT, whose plans are complete.
        is_captured: whether the CUDA graph is used; if not, every call is made again.

    Raises:
        EngineError: the library does not accept the plan, or the GPU's memory does not suffice.
    """

    def __init__(
        self,
        cuda: Cuda,
        library: Library,
        plan: bytes,
        file: str,
        kernels: bytes = b"",
    ) -> None:
        self.kernels = kernels
        self._cuda, self._library, self._file = cuda, library, file
        self._owner = ExitStack()
        self._captured: Any = None
        try:
            self._stream = cuda.stream(self._owner)
            self._done = cuda.event(self._owner)
            self._load(plan)
            self._allocate()
            self._warm_up()
        except BaseException:
            with suppress(EngineError):  # the first error is the reason of those that follow
                self._owner.close()
            raise

    @property
    def is_captured(self) -> bool:
        """See the class."""
        return self._captured is not None

    @property
    def ports(self) -> Ports:
        """Names, types and shapes of inputs and outputs."""
        inputs, outputs = (
            [Port(name, b.host.dtype.name, b.host.shape) for name, b in buffers.items()]
            for buffers in (self._inputs, self._outputs)
        )
        return Ports(file=self._file, inputs=inputs, outputs=outputs)

    def start(self, value: npt.NDArray) -> None:
        """Hand in the input; it is copied, and the GPU works from now on.

        Raises:
            EngineError: a call failed, or the input does not have the shape of the graph's.
        """
        (buffer,) = self._inputs.values()
        if value.shape != buffer.host.shape or value.dtype != buffer.host.dtype:
            raise EngineError(
                f"{self._file} takes {buffer.host.dtype} {buffer.host.shape}, not {value.dtype} "
                f"{value.shape}"
            )
        np.copyto(buffer.host, value)
        if self._captured is not None:
            self._cuda.launch(self._captured, self._stream)
        else:
            self._enqueue()

    def finish(self) -> tuple[npt.NDArray, ...]:
        """The outputs, when the GPU has finished; copies, which the next run leaves alone."""
        self._cuda.wait(self._done, self._stream)
        return tuple(buffer.host.copy() for buffer in self._outputs.values())

    def close(self) -> None:
        """Release everything; the GPU has finished then."""
        self._owner.close()

    def _load(self, plan: bytes) -> None:
        trt, log = self._library.trt, self._library.log
        self._owner.callback(self._forget)
        log.take()
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(f"{self._library.name} does not load {self._file}: {log.take()}")
        self._kernel_cache, options = self._runtime_options()
        self._context = self._engine.create_execution_context(*options)
        if self._context is None:
            raise EngineError(f"{self._library.name} cannot run {self._file}: {log.take()}")

    def _runtime_options(self) -> tuple[Any, tuple[Any, ...]]:
        """The kernel cache of TensorRT-RTX, and the arguments of the context that uses it."""
        if not self._library.is_rtx or not hasattr(self._engine, "create_runtime_config"):
            return None, ()
        config = self._engine.create_runtime_config()
        cache = config.create_runtime_cache()
        if self.kernels:
            cache.deserialize(self.kernels)
        config.set_runtime_cache(cache)
        return cache, (config,)

    def _forget(self) -> None:
        """Delete the objects of TensorRT in the reverse order of their making."""
        for name in ("_context", "_kernel_cache", "_engine", "_runtime"):
            self.__dict__.pop(name, None)

    def _allocate(self) -> None:
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            buffer = self._buffer_for(name)
            mode = self._engine.get_tensor_mode(name)
            is_input = mode == self._library.trt.TensorIOMode.INPUT
            (self._inputs if is_input else self._outputs)[name] = buffer
            if not self._context.set_tensor_address(name, buffer.device):
                reason = self._library.log.take()
                raise EngineError(f"{self._library.name} does not take {name}: {reason}")
        # In the order of the contract, depth and features, whatever order the library has.
        self._outputs = dict(sorted(self._outputs.items()))

    def _buffer_for(self, name: str) -> Buffer:
        shape = tuple(int(length) for length in self._engine.get_tensor_shape(name))
        if min(shape, default=1) < 1:
            raise EngineError(f"{self._file}: {name} has no fixed shape: {shape}")
        dtype = self._library.dtype(self._engine.get_tensor_dtype(name))
        return self._cuda.buffer(self._owner, shape, dtype)

    def _warm_up(self) -> None:
        """The first run sets up what a captured graph must not contain."""
        for buffer in self._inputs.values():
            buffer.host.fill(0)
        self._enqueue()
        self._cuda.wait(self._done, self._stream)
        if self._kernel_cache is not None:
            self.kernels = bytes(self._kernel_cache.serialize())
        can_be_captured = getattr(self._context, "is_stream_capturable", None)
        if can_be_captured is not None and not can_be_captured(int(self._stream)):
            return
        if not self._cuda.uses_graphs:
            return
        try:
            self._captured = self._cuda.captured(self._owner, self._stream, self._enqueue)
        except EngineError:  # slower, and right
            self._captured = None

    def _enqueue(self) -> None:
        """Put upload, inference and download on the stream."""
        for buffer in self._inputs.values():
            self._cuda.upload(buffer, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError(f"{self._library.name} failed: {self._library.log.take()}")
        for buffer in self._outputs.values():
            self._cuda.download(buffer, self._stream)
