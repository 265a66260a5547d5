"""Too little memory is reported as such, not as a library that is not installed."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest
from limited import run_limited

from sfm_ros.config import ModelConfig
from sfm_ros.doctor import model as doctor
from sfm_ros.engines import factory
from sfm_ros.errors import EngineError

LOAD = """
import sys
from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import EngineError
if sys.argv[1] == "loaded":
    import onnxruntime
in_use = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (in_use + int(sys.argv[2]) * 2**20, 2**33))
try:
    create_engine(ModelConfig(engine="onnx", threads=1))
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "spare_mib", "reason"),
    [
        ("missing", 5, "the inference engine onnx cannot be loaded: .*failed to map"),
        ("loaded", 10, "the memory does not suffice to load .*depth.onnx"),
    ],
)
def test_a_lack_of_memory_is_named(library, spare_mib, reason):
    pytest.importorskip("onnxruntime")
    run = run_limited(LOAD, library, spare_mib, limit_mib=8192)
    assert run.code == 0, run.error
    assert "not installed" not in run.output and "no inference library" not in run.output
    assert re.search(reason, run.output), run.output


def failing(error):
    class Engine:
        def __init__(self, *_):
            raise error

    return SimpleNamespace(OnnxEngine=Engine, OpenVinoEngine=Engine, CudaEngine=Engine)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'onnxruntime'"),
            "onnx is not installed .*pip install onnxruntime",
        ),
        (ImportError("libgomp.so.1: cannot open"), "onnx cannot be loaded: libgomp"),
        (MemoryError(), "onnx cannot be loaded: the memory does not suffice"),
    ],
)
def test_only_a_missing_library_is_to_be_installed(monkeypatch, error, message):
    monkeypatch.setitem(sys.modules, "sfm_ros.engines.onnx_engine", failing(error))
    with pytest.raises(EngineError, match=message):
        factory.create_engine(ModelConfig(engine="onnx"))


def test_the_doctor_advises_to_install_a_missing_library_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "sfm_ros.engines.onnx_engine", failing(MemoryError()))
    (found,) = doctor.check_engine(ModelConfig(engine="onnx"))
    assert "pip install" not in found.advice and "free memory" in found.advice
    monkeypatch.setattr(doctor, "package_versions", lambda _: {})
    (found,) = doctor.check_engine(ModelConfig(engine="onnx"))
    assert "pip install onnxruntime" in found.advice
