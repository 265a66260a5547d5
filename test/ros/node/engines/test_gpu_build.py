"""A node with a GPU and no built engines: it answers, builds beside, and changes over.

The GPU and TensorRT are fakes that compute the real graphs; the build is a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from fake_gpu.cuda import FakeCuda
from fake_gpu.program import WRONG_LAYER
from fake_gpu.rig import install
from fake_gpu.tensorrt import FakeTensorRt
from rclpy.executors import MultiThreadedExecutor
from rig.drive import FILLING, Drive
from rig.probe import HELPERS, REPOSITORY, Probe, wait_until

from sfm_ros.config import ModelConfig
from sfm_ros.engines.build_process import BuildProcess
from sfm_ros.engines.engine_cache import OWN_FOLDER, SHARED_FOLDERS
from sfm_ros.engines.factory import resolve_bundle, start_engine
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.engines.switching import SwitchingEngine

AUTO = ModelConfig(threads=1)


@pytest.fixture
def trt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    """A machine with a GPU and an empty cache."""
    made = FakeTensorRt("10", FakeCuda())
    install(monkeypatch, made)
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "engines"))
    monkeypatch.delenv(SHARED_FOLDERS, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (REPOSITORY, HELPERS))))
    command = BuildProcess._command

    def of_the_fake(self: BuildProcess) -> list[str]:
        program = {"sfm_ros.cli.build_engine": "fake_gpu.program"}
        return [program.get(word, word) for word in command(self)]

    monkeypatch.setattr(BuildProcess, "_command", of_the_fake)
    return made


@pytest.fixture
def drive(probe: Probe, executor: MultiThreadedExecutor) -> Callable[..., Drive]:
    return lambda space, engine: Drive(probe, executor, space, engine)


def test_the_node_changes_over_to_the_engine_that_it_built(
    trt: FakeTensorRt, drive: Callable[..., Drive]
) -> None:
    alone = drive("cpu", OnnxEngine(resolve_bundle("default"), AUTO))
    alone.show(range(8))
    engine = start_engine(AUTO)
    assert isinstance(engine, SwitchingEngine)
    built = drive("built", engine)
    built.show(range(4))
    wait_until(lambda: not engine._thread.is_alive(), lambda: str(engine.facts()))  # type: ignore[union-attr]
    built.show(range(4, 8))
    assert engine.name == "tensorrt", engine.facts()
    assert engine.facts()["engine_refused"] == "" and not built.failures
    assert len(built.odometry) == len(alone.odometry) == 8 - FILLING
    np.testing.assert_allclose(built.poses(), alone.poses(), atol=1e-4)
    wait_until(lambda: built.values()["engine"] == "tensorrt", "the engine in ~/status")
    again = start_engine(AUTO)  # from the cache
    assert again.name == "tensorrt"
    again.close()
    engine.close()
    assert (trt.cuda.live, trt.faults) == ({}, [])


def test_the_node_goes_on_without_an_engine_that_came_out_wrong(
    trt: FakeTensorRt, drive: Callable[..., Drive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WRONG_LAYER, "1")
    engine = start_engine(AUTO)
    assert isinstance(engine, SwitchingEngine)
    refused = drive("wrong", engine)
    refused.show(range(4))

    def reported() -> str:
        for array in list(refused.diagnostics):
            for status in array.status:
                for entry in status.values:
                    if "/wrong" in status.name and entry.key == "engine_refused" and entry.value:
                        return entry.value
        return ""

    reason = wait_until(reported, "the refusal in /diagnostics")
    assert "tensorrt fp32 is not used" in reason and "refused, depth median" in reason
    refused.show(range(4, 8))
    assert len(refused.odometry) == 8 - FILLING and not refused.failures
    assert engine.name in ("onnx", "openvino")
    assert refused.values()["engine"] in ("onnx", "openvino")
    again = start_engine(AUTO)  # nothing is built at the next start
    assert again.name in ("onnx", "openvino") and trt.log == []
    assert isinstance(again, SwitchingEngine)
    assert "refused, depth median" in again.facts()["engine_refused"]
    again.close()
