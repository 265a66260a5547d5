"""sfm_build_engine on a machine with a fake GPU, whose TensorRT builds a bundle's own graphs.

    python -m fake_gpu.program MODEL [OPTION...]

With WRONG_LAYER in the environment, the first convolution of the depth network comes out wrong.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from fake_gpu.cuda import FakeCuda
from fake_gpu.rig import install
from fake_gpu.tensorrt import FakeTensorRt, plan_of
from sfm_ros.cli.build_engine import main
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.model_spec import ModelSpec

WRONG_LAYER = "SFM_TEST_WRONG_LAYER"
_TYPES = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FLOAT"}


def builder(path: Path, is_wrong: bool) -> Callable[[], bytes]:
    """What building the graph in a file yields; the plan refers to a copy of it."""

    def build() -> bytes:
        model = onnx.load(path)
        if is_wrong:
            weights = next(w for w in model.graph.initializer if len(w.dims) == 4)
            wrong = onnx.numpy_helper.to_array(weights) * np.float32(1.3)
            weights.CopyFrom(onnx.numpy_helper.from_array(wrong, weights.name))
        copy = Path(tempfile.mkdtemp()) / path.name
        onnx.save(model, copy)
        return plan_of(str(copy), _ports(model.graph.input), _ports(model.graph.output))

    return build


def _ports(values: list[onnx.ValueInfoProto]) -> dict[str, tuple]:
    types = [(value.name, value.type.tensor_type) for value in values]
    return {
        name: (_TYPES[kind.elem_type], tuple(d.dim_value for d in kind.shape.dim))
        for name, kind in types
    }


def run(arguments: list[str]) -> int:
    trt = FakeTensorRt("10", FakeCuda())
    install(pytest.MonkeyPatch(), trt)
    bundle = resolve_bundle(arguments[0])
    spec = ModelSpec.load(bundle)
    for file in (spec.depth_file, spec.pose_file):
        is_wrong = WRONG_LAYER in os.environ and file == spec.depth_file
        trt.plans[(bundle / file).read_bytes()] = builder(bundle / file, is_wrong)
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
