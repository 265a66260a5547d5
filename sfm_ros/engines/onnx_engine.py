"""ONNX Runtime on the CPU. The only file that imports onnxruntime."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime

from sfm_ros.datatypes import Prediction
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.model_spec import ModelSpec, window_increments
from sfm_ros.window import Window


class OnnxEngine:
    """Runs a model bundle with ONNX Runtime.

    Raises:
        ModelError: a graph cannot be loaded, or its inputs and outputs break the contract.
        EngineError: the memory does not suffice.
    """

    name = "onnx"

    def __init__(self, bundle: Path, threads: int = 2) -> None:
        self.spec = ModelSpec.load(bundle)
        spec = self.spec
        self._depth = _session(Path(bundle) / spec.depth_file, threads)
        self._pose = _session(Path(bundle) / spec.pose_file, threads)
        image = [1, spec.height, spec.width, 3]
        _expect(self._depth, spec.depth_file, "rgb", image, "depth", image[:3])
        window = [1, spec.sequence_length, spec.height, spec.width, 3]
        motions = [1, spec.sequence_length - 1, 4, 4]
        _expect(self._pose, spec.pose_file, "window", window, "T_source_target", motions)

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`."""
        start = time.perf_counter_ns()
        try:
            (depth,) = self._depth.run(None, {"rgb": window.images[-1][None]})
            (motions,) = self._pose.run(None, {"window": np.stack(window.images)[None]})
        except Exception as error:  # onnxruntime raises its own types, which it does not export
            raise EngineError(f"ONNX Runtime failed: {error}") from error
        elapsed = time.perf_counter_ns() - start
        return Prediction(
            depth=depth[0],
            increments=window_increments(motions[0], self.spec),
            inference_ns=elapsed,
        )

    def close(self) -> None:
        """Release the sessions and their threads; the engine cannot be used afterwards."""
        del self._depth, self._pose


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would occupy a core between two frames and slow down the other graph.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, which it does not export
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            raise EngineError(f"the memory does not suffice to load {path}") from error
        raise ModelError(f"ONNX Runtime cannot load {path}: {error}") from error


def _expect(
    session: onnxruntime.InferenceSession,
    file: str,
    input_name: str,
    input_shape: list[int],
    output_name: str,
    output_shape: list[int],
) -> None:
    inputs = [(v.name, v.type, list(v.shape)) for v in session.get_inputs()]
    outputs = [(v.name, v.type, list(v.shape)) for v in session.get_outputs()]
    expected_in = [(input_name, "tensor(uint8)", input_shape)]
    expected_out = [(output_name, "tensor(float)", output_shape)]
    if inputs != expected_in or outputs != expected_out:
        raise ModelError(
            f"{file} follows another contract: inputs {inputs}, outputs {outputs}; "
            f"expected inputs {expected_in}, outputs {expected_out}; export the model again with "
            "training/export.py"
        )
