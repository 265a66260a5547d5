"""The stand-ins of the tests have no name that the real libraries lack."""

from __future__ import annotations

import enum
import importlib.util
import json
import subprocess
import sys

import pytest
from fake_gpu import tensorrt as fakes
from fake_gpu.cuda import FakeCuda

CLASSES = {
    "Builder": fakes._Builder,
    "IBuilderConfig": fakes._Config,
    "ITimingCache": fakes._Timings,
    "OnnxParser": fakes._Parser,
    "Runtime": fakes._Runtime,
    "ICudaEngine": fakes._Engine,
    "IExecutionContext": fakes.Context,
    "IRuntimeConfig": fakes._RuntimeConfig,
    "IRuntimeCache": fakes._KernelCache,
    "ParserError": fakes.ParserError,
    "IProgressMonitor": fakes._Monitor,
}
MORE = {  # what their constructors add
    "ICudaEngine": ["num_io_tensors", "create_runtime_config"],
    "IExecutionContext": ["is_stream_capturable"],
    "IBuilderConfig": ["progress_monitor"],
    "ParserError": ["node_name", "node_operator"],
    "IProgressMonitor": ["phase_start", "phase_finish", "step_complete"],
}
ENUMS = (
    "NetworkDefinitionCreationFlag",
    "DataType",
    "TensorIOMode",
    "MemoryPoolType",
    "BuilderFlag",
)
CODE = """
import json, sys
import tensorrt_rtx
missing = []
for path in json.load(sys.stdin):
    found = tensorrt_rtx
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        missing.append(path)
print(json.dumps(missing))
"""


def public(names) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def test_cuda_has_the_functions_and_flags_of_the_fake() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    names = [name for name in vars(FakeCuda) if name.startswith("cuda")]
    assert len(names) > 30
    for name in names:
        fake, real = vars(FakeCuda)[name], getattr(runtime, name)
        if isinstance(fake, type) and issubclass(fake, enum.Enum):
            assert {m.name: int(m) for m in fake}.items() <= {m.name: int(m) for m in real}.items()
        elif isinstance(fake, int):
            assert int(real) == fake, name
        else:
            assert callable(real), name


def test_tensorrt_has_the_names_of_the_fake() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("TensorRT-RTX is not installed (pip install -r requirements/rtx.txt)")
    fake = fakes.FakeTensorRt("RTX", FakeCuda())
    paths = [f"{name}.{m.name}" for name in ENUMS for m in getattr(fake, name)]
    paths += [
        f"NetworkDefinitionCreationFlag.{m.name}" for m in fake.NetworkDefinitionCreationFlag
    ]
    paths += [f"ILogger.Severity.{m.name}" for m in fakes._Logger.Severity]
    paths += [f"{c}.{name}" for c, kind in CLASSES.items() for name in public(vars(kind))]
    paths += [f"{c}.{name}" for c, names in MORE.items() for name in names]
    ours = {"IBuilderConfig.flags", "IBuilderConfig.timings", "IRuntimeCache.content"}
    asked = json.dumps(sorted(set(paths) - ours))
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=asked, capture_output=True, text=True, check=True
    )
    assert len(paths) > 40 and json.loads(done.stdout) == []
