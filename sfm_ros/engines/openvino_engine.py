"""OpenVINO on the CPU. The only file that imports openvino."""

from __future__ import annotations

from pathlib import Path

import numpy.typing as npt
import openvino

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines.contract import Port, Ports, check_contract
from sfm_ros.engines.registry import concrete, graph_variant
from sfm_ros.engines.window_runner import WindowRunner
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

_DEVICE = "CPU"
_BF16 = "bf16"


class OpenVinoEngine:
    """Runs a model bundle with OpenVINO on the CPU.

    Args:
        bundle: its folder.
        config: ``precision`` and ``threads`` are used.

    Raises:
        ModelError: a graph cannot be loaded, or its inputs and outputs break the contract.
        EngineError: the memory does not suffice, the precision is not one of this engine's, or
            this processor does not have it.
    """

    name = "openvino"

    def __init__(self, bundle: Path, config: ModelConfig | None = None) -> None:
        config = concrete(config or ModelConfig())
        self.precision = config.precision
        self.spec = ModelSpec.load(bundle)
        graphs = self.spec.graphs(graph_variant(self.name, config))
        core = openvino.Core()
        depth, pose = (
            _compile(core, Path(bundle) / file, _options(core, self.precision, threads))
            for file, threads in (
                (graphs.depth_file, config.threads),
                (graphs.pose_file, max(config.threads // 2, 1)),
            )
        )
        check_contract(self.spec, _ports(depth, graphs.depth_file), _ports(pose, graphs.pose_file))
        # A compiled model lives as long as a request of it.
        self._depth, self._pose = depth.create_infer_request(), pose.create_infer_request()
        both = self._run_both if config.threads > 1 else None
        self._runner = WindowRunner(self.spec, self._run_depth, self._run_pose, both)

    def _run_depth(self, rgb: npt.NDArray) -> tuple[npt.NDArray, ...]:
        return _run(self._depth, rgb)

    def _run_pose(self, seen: npt.NDArray) -> npt.NDArray:
        return _run(self._pose, seen)[0]

    def _run_both(self, images: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """Depth of the newest image and the motions of a window, at the same time.

        The layers are so small that threads spend much time in waiting for each other; the other
        network uses it.
        """
        self._pose.start_async([images], share_inputs=True)
        try:
            (depth,) = _run(self._depth, images[:, -1])
        finally:
            self._pose.wait()
        return depth, _outputs(self._pose)[0]

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`."""
        try:
            return self._runner.infer(window)
        except RuntimeError as error:  # what OpenVINO raises
            raise EngineError(f"OpenVINO failed: {error}") from error

    def close(self) -> None:
        """Release the graphs; the engine cannot be used afterwards."""
        del self._depth, self._pose


def _options(core: openvino.Core, precision: str, threads: int) -> dict[str, object]:
    """One image at a time, on threads that sleep between two images.

    The precision is always stated: OpenVINO's own choice is bfloat16 where the processor has it.
    """
    if precision == _BF16 and _BF16.upper() not in _capabilities(core):
        raise EngineError("this processor does not compute in bf16; set model.precision to fp32")
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == _BF16 else "f32",
        # Threads bound to cores would share them with the node's other threads.
        "ENABLE_CPU_PINNING": False,
        # Compiling takes a fraction of a second: no files are left behind for it.
        "CACHE_DIR": "",
    }


def _capabilities(core: openvino.Core) -> list[str]:
    """What the processor has instructions for."""
    return core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


def _compile(core: openvino.Core, path: Path, options: dict) -> openvino.CompiledModel:
    try:
        return core.compile_model(core.read_model(path), _DEVICE, options)
    except RuntimeError as error:
        if "bad_alloc" in str(error) or "allocate" in str(error):
            raise EngineError(f"the memory does not suffice to load {path}") from error
        raise ModelError(f"OpenVINO cannot load {path}: {error}") from error


def _run(request: openvino.InferRequest, value: npt.NDArray) -> tuple[npt.NDArray, ...]:
    request.infer([value], share_inputs=True)
    return _outputs(request)


def _outputs(request: openvino.InferRequest) -> tuple[npt.NDArray, ...]:
    """The outputs of a graph, copied out of the memory that the next run writes to."""
    return tuple(tensor.data.copy() for tensor in request.output_tensors)


def _ports(model: openvino.CompiledModel, file: str) -> Ports:
    inputs, outputs = (
        [Port(v.any_name, v.element_type.to_dtype().name, _shape(v)) for v in values]
        for values in (model.inputs, model.outputs)
    )
    return Ports(file=file, inputs=inputs, outputs=outputs)


def _shape(value: openvino.ConstOutput) -> tuple[int | None, ...]:
    return tuple(d.get_length() if d.is_static else None for d in value.partial_shape)
