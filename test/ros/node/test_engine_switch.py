"""Engines that change while the node runs: over the middleware, with the libraries themselves."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rig.probe import Probe, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rclpy.executors import MultiThreadedExecutor
from rig.drive import FILLING, Drive

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.engines.parity import LIMITS, check_parity
from sfm_ros.engines.switching import SwitchingEngine
from sfm_ros.errors import EngineError, SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

FRAMES, SWAP_AT = 14, 6
MODEL = ModelConfig(threads=1)


@pytest.fixture
def drive(probe: Probe, executor: MultiThreadedExecutor) -> Callable[[str, Engine], Drive]:
    return lambda space, engine: Drive(probe, executor, space, engine)


def onnx_engine() -> OnnxEngine:
    return OnnxEngine(resolve_bundle("default"), MODEL)


def refuse_all(engine: Engine, error: SfmRosError) -> Engine:
    raise error


def test_the_swap_loses_no_frame_and_does_not_move_the_trajectory(
    drive: Callable[[str, Engine], Drive],
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from sfm_ros.engines.openvino_engine import OpenVinoEngine

    is_due = threading.Event()

    def prepare(progress: Callable[[str], object], stop: threading.Event) -> Engine:
        assert is_due.wait(60)
        return OpenVinoEngine(resolve_bundle("default"), MODEL)

    switching = SwitchingEngine(onnx_engine(), [prepare], refuse_all)
    alone, swapped = drive("alone", onnx_engine()), drive("swapped", switching)
    alone.show(range(FRAMES))
    swapped.show(range(SWAP_AT))
    assert swapped.engine.name == "onnx"
    is_due.set()
    assert switching._thread is not None
    switching._thread.join(60)
    swapped.show(range(SWAP_AT, FRAMES))
    assert swapped.engine.name == "openvino" and not swapped.failures
    wait_until(lambda: len(swapped.depth) >= FRAMES - FILLING, "depth, which follows the odometry")
    counts = [len(d.odometry) for d in (alone, swapped)], [len(d.depth) for d in (alone, swapped)]
    assert counts == ([FRAMES - FILLING] * 2, [FRAMES - FILLING] * 2)
    difference = np.abs(swapped.poses() - alone.poses())
    steps = np.linalg.norm(np.diff(alone.poses()[:, :3], axis=0), axis=1)
    print(f"largest difference {difference.max() / steps.min():.1e} of a step")
    assert steps.min() > 0.3
    assert difference.max() < 1e-3 * steps.min()
    wait_until(lambda: swapped.values()["engine"] == "openvino", "the engine in ~/status")
    assert swapped.values()["engine_precision"] == "fp32"


def perturbed_bundle(folder: Path) -> Path:
    """The default model with one perturbed layer of its depth network."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    shutil.copytree(resolve_bundle("default"), folder)
    spec = ModelSpec.load(folder)
    graph = onnx.load(folder / spec.depth_file)
    weights = next(w for w in graph.graph.initializer if len(w.dims) == 4)
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.3)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(graph, folder / spec.depth_file)
    spec.save(folder)
    return folder


def test_an_engine_that_the_parity_gate_refuses_is_named_in_the_diagnostics(
    drive: Callable[[str, Engine], Drive], tmp_path: Path
) -> None:
    candidate = OnnxEngine(perturbed_bundle(tmp_path / "bundle"), MODEL)

    def prepare(progress: Callable[[str], object], stop: threading.Event) -> Engine:
        parity = check_parity(candidate, onnx_engine(), LIMITS["fp32"])
        if not parity.accepted:
            raise EngineError(parity.text)
        return candidate

    switching = SwitchingEngine(onnx_engine(), [prepare], refuse_all)
    refused = drive("refused", switching)
    refused.show(range(4))

    def reported() -> dict[str, str] | None:
        for array in reversed(list(refused.diagnostics)):
            for status in array.status:
                values = {entry.key: entry.value for entry in status.values}
                if "/refused" in status.name and (reason := values["engine_refused"]):
                    # The status has it as its last trouble a moment after the engine has it.
                    if values["last_trouble"].endswith(reason):
                        return values
        return None

    values = wait_until(reported, "the refusal in /diagnostics")
    assert "onnx against onnx" in values["engine_refused"]
    assert "refused, depth median" in values["engine_refused"]
    assert values["last_trouble"].endswith(values["engine_refused"])
    refused.show(range(4, 6))
    assert len(refused.odometry) == 6 - FILLING and not refused.failures
    assert values["engine"] == "onnx"


class Failing(OnnxEngine):
    """Fails after some frames, as a library that runs out of memory."""

    left = 3

    def infer(self, window: Window) -> Prediction:
        self.left -= 1
        if self.left < 0:
            raise EngineError("the library is out of memory")
        return super().infer(window)


def test_an_engine_that_fails_is_replaced_without_losing_a_frame(
    drive: Callable[[str, Engine], Drive],
) -> None:
    first = Failing(resolve_bundle("default"), MODEL)
    switching = SwitchingEngine(first, [], lambda engine, error: onnx_engine())
    drives = drive("whole", onnx_engine()), drive("broken", switching)
    for each in drives:
        each.show(range(8))
    whole, broken = drives
    assert len(broken.odometry) == len(whole.odometry) == 8 - FILLING and not broken.failures
    np.testing.assert_allclose(broken.poses(), whole.poses(), atol=1e-9)
    wait_until(lambda: "out of memory" in broken.values()["engine_refused"], "the reason")
