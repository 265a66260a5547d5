"""ONNX Runtime on the CPU, and on an NVIDIA GPU. The only file that imports onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy.typing as npt
import onnxruntime

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines.contract import Port, Ports, check_contract
from sfm_ros.engines.registry import concrete, graph_variant
from sfm_ros.engines.window_runner import WindowRunner, gray_windows
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxEngine:
    """Runs a model bundle with ONNX Runtime on the CPU.

    Args:
        bundle: its folder.
        config: ``precision`` and ``threads`` are used.

    Raises:
        ModelError: a graph cannot be loaded, or its inputs and outputs break the contract.
        EngineError: the memory does not suffice, or the precision is not one of this engine's.
    """

    name = "onnx"
    _provider = _CPU

    def __init__(self, bundle: Path, config: ModelConfig | None = None) -> None:
        config = concrete(config or ModelConfig())
        self.precision = config.precision
        self.spec = ModelSpec.load(bundle)
        graphs = self.spec.graphs(graph_variant(self.name, config))
        self._depth = self._session(Path(bundle) / graphs.depth_file, config.threads)
        self._pose = self._session(Path(bundle) / graphs.pose_file, config.threads)
        depth, pose = _ports(self._depth, graphs.depth_file), _ports(self._pose, graphs.pose_file)
        check_contract(self.spec, depth, pose)
        (self._depth_input,), (self._pose_input,) = depth.inputs, pose.inputs
        self._runner = WindowRunner(self.spec, self._run_depth, self._run_pose)

    def _session(self, path: Path, threads: int) -> onnxruntime.InferenceSession:
        return _session(path, threads, self._provider)

    def _run_depth(self, rgb: npt.NDArray) -> tuple[npt.NDArray, ...]:
        return tuple(self._depth.run(None, {self._depth_input.name: rgb}))

    def _run_pose(self, seen: npt.NDArray) -> npt.NDArray:
        return self._pose.run(None, {self._pose_input.name: seen})[0]

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`."""
        try:
            return self._runner.infer(window)
        except Exception as error:  # onnxruntime raises its own types, which it does not export
            raise EngineError(f"ONNX Runtime failed: {error}") from error

    def close(self) -> None:
        """Release the sessions and their threads; the engine cannot be used afterwards."""
        del self._depth, self._pose


class CudaEngine(OnnxEngine):
    """Runs a model bundle with ONNX Runtime on an NVIDIA GPU, never silently on the CPU.

    Raises:
        ModelError: as `OnnxEngine`.
        EngineError: also if ONNX Runtime was built without CUDA, or there is no usable GPU.
    """

    name = "cuda"
    _provider = _CUDA

    def __init__(self, bundle: Path, config: ModelConfig | None = None) -> None:
        if _CUDA not in onnxruntime.get_available_providers():
            raise EngineError(
                "the inference engine cuda needs a build of ONNX Runtime with CUDA, "
                f"{onnxruntime.__version__} here has none; replace it with: pip uninstall "
                "onnxruntime && pip install onnxruntime-gpu"
            )
        # Loads CUDA's and cuDNN's libraries from Python packages, where they are installed so.
        getattr(onnxruntime, "preload_dlls", lambda: None)()
        super().__init__(bundle, config)
        # Convolutions are chosen by trial in the first run, which takes seconds.
        self.infer(next(gray_windows(self.spec)))

    def _session(self, path: Path, threads: int) -> onnxruntime.InferenceSession:
        session = super()._session(path, threads)
        if _CUDA not in session.get_providers():
            raise EngineError(
                "the inference engine cuda does not work: ONNX Runtime cannot use a GPU here "
                "(no driver, or another version of CUDA or cuDNN than it was built for); see "
                "nvidia-smi"
            )
        return session


def _session(path: Path, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would occupy a core between two frames and slow down the other graph.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime raises its own types, which it does not export
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            raise EngineError(f"the memory does not suffice to load {path}") from error
        if provider != _CPU:
            raise EngineError(f"ONNX Runtime cannot use the GPU: {error}") from error
        raise ModelError(f"ONNX Runtime cannot load {path}: {error}") from error


def _ports(session: onnxruntime.InferenceSession, file: str) -> Ports:
    inputs, outputs = (
        [Port(v.name, _TYPES.get(v.type, v.type), tuple(v.shape)) for v in values]
        for values in (session.get_inputs(), session.get_outputs())
    )
    return Ports(file=file, inputs=inputs, outputs=outputs)
