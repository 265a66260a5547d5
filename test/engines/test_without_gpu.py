"""Without a GPU the next engine is used, even if TensorRT is there and would end the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import tilted_wall, write_bundle

from sfm_ros.engines.tensorrt.cuda import has_driver
from sfm_ros.geometry import make_transform

ROOT = Path(__file__).resolve().parents[2]

DEADLY = """
import os
__version__ = "11.4.0"
class ILogger:
    class Severity:
        INTERNAL_ERROR, ERROR, WARNING = range(3)
def Runtime(*_):
    os.abort()
Builder = OnnxParser = Runtime
"""
CREATE = """
import sys
from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import EngineError
import tensorrt
for name in ("tensorrt", "cuda", "auto"):
    try:
        engine = create_engine(ModelConfig(bundle=sys.argv[1], engine=name))
        print(name, "is", engine.name)
        engine.close()
    except EngineError as error:
        print(name, "fails:", error)
"""


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_a_runtime_that_ends_the_process_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text(DEADLY)
    bundle = write_bundle(
        tmp_path / "bundle", tilted_wall(), make_transform(np.eye(3), [0.0, 0.0, 1.0])
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", CREATE, str(bundle)], capture_output=True, text=True, timeout=120,
        env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tensorrt, cuda, auto = done.stdout.strip().splitlines()
    assert tensorrt.startswith("tensorrt fails: ") and "no NVIDIA driver" in tensorrt
    assert cuda.startswith("cuda fails: ")
    assert auto in ("auto is onnx", "auto is openvino")
