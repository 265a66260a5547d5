"""The execution of TensorRT engines, on a fake GPU that checks every call."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_gpu.cuda import CAPTURE_INVALIDATED, LAUNCH_FAILED, FakeCuda
from fake_gpu.rig import (
    DEPTH,
    DEPTH_AND_FEATURES,
    POSE,
    POSE_OF_FEATURES,
    GpuRig,
    frame,
    window_of,
)
from fake_gpu.rig import make_rig as new_rig
from fake_gpu.tensorrt import VERSIONS, Context, plan_of

from sfm_ros.config import ModelConfig
from sfm_ros.engines.tensorrt import cuda as cuda_module
from sfm_ros.engines.tensorrt_engine import TensorRtEngine
from sfm_ros.errors import EngineError, EngineNotBuiltError, EngineRefusedError, ModelError
from sfm_ros.model_spec import ModelSpec

CAPTURING = (
    "cudaStreamBeginCapture",
    "cudaStreamEndCapture",
    "cudaGraphInstantiateWithFlags",
    "cudaGraphDestroy",
)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    return new_rig(tmp_path, monkeypatch)


def check_predictions(rig: GpuRig) -> None:
    """Several windows through a new engine; what it returns does not change later."""
    engine = rig.open()
    first = engine.infer(window_of(frame(10), frame(12), frame(15)))
    second = engine.infer(window_of(frame(12), frame(15), frame(35)))
    np.testing.assert_array_equal(first.depth, np.full((4, 8), 16, np.float32))
    np.testing.assert_array_equal(second.depth, np.full((4, 8), 36, np.float32))
    # T_source_target with the oldest frame as target: T_1_0 and T_2_0 move by -z.
    assert first.increments[:, 2, 3].tolist() == [-2.0, 2.0 - 3.0]
    assert second.increments[:, 2, 3].tolist() == [-3.0, 3.0 - 20.0]
    engine.close()


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("kind", list(VERSIONS))
def test_every_version_predicts_and_releases_what_it_took(
    rig: GpuRig, kind: str, integrated: bool
) -> None:
    rig.use(FakeCuda(integrated=integrated), kind)
    rig.store()
    check_predictions(rig)
    rig.check_released()
    copies = rig.cuda.calls["cudaMemcpyAsync"]
    assert (copies == 0 and rig.cuda.calls["cudaMalloc"] == 0) if integrated else copies > 0


def test_the_captured_graph_replaces_the_calls(rig: GpuRig) -> None:
    rig.store()
    engine = rig.open()
    assert rig.trt.executions == 4  # each graph once before, once in the capture
    before = dict(rig.cuda.calls)
    rig.cuda.order.clear()
    engine.infer(window_of(frame(1), frame(2), frame(3)))
    assert rig.trt.executions == 4
    assert rig.cuda.calls["cudaMemcpyAsync"] == before["cudaMemcpyAsync"]
    assert rig.cuda.order == [
        "cudaGraphLaunch", "cudaGraphLaunch",  # depth and pose, before anything is waited for
        "cudaEventRecord", "cudaEventSynchronize", "cudaEventRecord", "cudaEventSynchronize",
    ]  # fmt: skip
    assert engine.about == "TensorRT 10.3.0, fp32, Fake Orin, CUDA 12.6"
    engine.close()


@pytest.mark.parametrize("function", CAPTURING)
def test_without_a_captured_graph_the_result_is_the_same(rig: GpuRig, function: str) -> None:
    rig.store()
    rig.cuda.failures[function] = (1, CAPTURE_INVALIDATED)
    check_predictions(rig)
    rig.check_released()


def test_a_stream_that_cannot_be_captured_is_not_captured(rig: GpuRig) -> None:
    rig.use(FakeCuda(), "RTX")
    rig.store()
    original = Context.__init__

    def without(self, *arguments):
        original(self, *arguments)
        self.is_stream_capturable = lambda stream: False

    rig.monkeypatch.setattr(Context, "__init__", without)
    check_predictions(rig)
    assert rig.cuda.calls["cudaStreamBeginCapture"] == 0
    engine = rig.open()
    assert "without a CUDA graph" in engine.about
    engine.close()


def test_calls_are_made_singly_on_request(rig: GpuRig) -> None:
    rig.store()
    engine = TensorRtEngine(rig.bundle, ModelConfig(), rig.cache, uses_graph=False)
    engine.infer(window_of(frame(1), frame(2), frame(3)))
    assert rig.cuda.calls["cudaGraphLaunch"] == 0 and rig.trt.executions == 4
    engine.close()
    rig.check_released()


def calls_of_a_good_run(rig: GpuRig) -> dict[str, int]:
    check_predictions(rig)
    explaining = ("cudaGetErrorName", "cudaGetErrorString")
    return {name: n for name, n in rig.cuda.calls.items() if name not in explaining}


@pytest.mark.parametrize("integrated", [False, True])
def test_any_call_that_fails_is_an_engine_error_and_releases_everything(
    rig: GpuRig, integrated: bool
) -> None:
    rig.use(FakeCuda(integrated=integrated), "10")
    rig.store()
    rig.cuda.calls.clear()
    counts = calls_of_a_good_run(rig)
    assert len(counts) > 15
    for name in sorted(set(counts) - set(CAPTURING)):
        last = 1 if name == "cudaMemcpyAsync" else counts[name]  # its last ones are captured
        for number in {1, last}:
            rig.use(FakeCuda(integrated=integrated), "10")
            rig.cuda.failures[name] = (number, LAUNCH_FAILED)
            with pytest.raises(EngineError, match=f"{name} failed: cudaErrorOfTest .719.: a test"):
                failing_run(rig)
            rig.check_released()


def failing_run(rig: GpuRig) -> None:
    engine = rig.open()
    try:
        engine.infer(window_of(frame(10), frame(12), frame(15)))
        engine.infer(window_of(frame(12), frame(15), frame(35)))
    finally:
        engine.close()


# Features of a frame, computed once


def test_features_of_a_frame_are_computed_once(rig: GpuRig) -> None:
    dataclasses.replace(ModelSpec.load(rig.bundle), pose_input="features").save(rig.bundle)
    rig.store(DEPTH_AND_FEATURES, POSE_OF_FEATURES)
    engine = rig.open()
    frames = [frame(red) for red in (10, 12, 15, 35)]
    rig.cuda.calls.clear()
    first = engine.infer(window_of(*frames[:3]))
    assert rig.cuda.calls["cudaGraphLaunch"] == 4  # depth of three frames, and pose
    second = engine.infer(window_of(*frames[1:]))
    assert rig.cuda.calls["cudaGraphLaunch"] == 6
    assert (first.depth[0, 0], second.depth[0, 0]) == (16, 36)
    assert second.increments[:, 2, 3].tolist() == [-3.0, -17.0]
    engine.close()
    rig.check_released()


def test_outputs_are_known_by_their_names(rig: GpuRig) -> None:
    dataclasses.replace(ModelSpec.load(rig.bundle), pose_input="features").save(rig.bundle)
    plan = json.loads(DEPTH_AND_FEATURES)
    plan["outputs"] = dict(reversed(plan["outputs"].items()))
    rig.store(json.dumps(plan).encode(), POSE_OF_FEATURES)
    engine = rig.open()
    assert engine.infer(window_of(frame(1), frame(2), frame(3))).depth[0, 0] == 4
    engine.close()


# What is not there, or not as it should be


def test_without_a_driver_tensorrt_is_not_touched(rig: GpuRig) -> None:
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: False)
    rig.monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="no NVIDIA driver on this machine"):
        rig.open()


def test_without_a_driver_the_graphs_are_not_hashed(rig: GpuRig) -> None:
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: False)
    rig.monkeypatch.setattr(ModelSpec, "load", lambda _: pytest.fail("the bundle was read"))
    with pytest.raises(EngineError, match="no NVIDIA driver on this machine"):
        rig.open()


def test_no_gpu_and_an_old_driver_are_named(rig: GpuRig) -> None:
    rig.use(FakeCuda(devices=0), "10")
    with pytest.raises(EngineError, match="finds no GPU .see CUDA_VISIBLE_DEVICES"):
        rig.open()
    rig.cuda.failures["cudaGetDeviceCount"] = (2, 35)
    with pytest.raises(EngineError, match="cudaGetDeviceCount failed: .*35"):
        rig.open()
    assert rig.trt.alive == []


def test_missing_libraries_are_named(rig: GpuRig) -> None:
    rig.monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ModuleNotFoundError, match="'tensorrt' or 'tensorrt_rtx'"):
        rig.open()


def test_an_engine_that_is_not_built_names_the_program_that_builds_it(rig: GpuRig) -> None:
    with pytest.raises(EngineNotBuiltError, match="sfm_build_engine"):
        rig.open()
    rig.check_released()


def test_a_refused_engine_is_not_loaded_and_not_built_at_each_start(rig: GpuRig) -> None:
    rig.store(accepted=False)
    with pytest.raises(EngineError, match="are refused: depth median 0.3; .*--force") as error:
        rig.open()
    assert isinstance(error.value, EngineRefusedError)
    assert not isinstance(error.value, EngineNotBuiltError) and rig.cuda.calls["cudaMalloc"] == 0


def test_an_engine_that_was_not_compared_is_not_loaded(rig: GpuRig) -> None:
    rig.store()
    (parity,) = [e for e in rig.cache.entries() if e.facts.get("graph") == "parity accepted"]
    parity.path.unlink()
    with pytest.raises(EngineNotBuiltError, match="built and compared.*sfm_build_engine"):
        rig.open()


def test_the_engine_of_another_gpu_is_not_loaded(rig: GpuRig) -> None:
    rig.store()
    other = FakeCuda()
    other.cudaDriverGetVersion = lambda: (0, 13000)  # type: ignore[method-assign]
    rig.use(other, "10")
    with pytest.raises(EngineNotBuiltError):
        rig.open()
    rig.use(FakeCuda(), "11")
    with pytest.raises(EngineNotBuiltError):
        rig.open()
    assert rig.trt.alive == []


def test_what_rtx_compiled_for_the_gpu_is_kept(rig: GpuRig) -> None:
    rig.use(FakeCuda(), "RTX")
    rig.store()
    rig.open().close()
    rig.open().close()
    assert [entry for entry in rig.trt.log if entry[0] == "kernels"] == [
        ("kernels", b""), ("kernels", b""), ("kernels", b"kernels"), ("kernels", b"kernels"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (b"no plan", "TensorRT does not load depth.onnx: the plan is of another version"),
        (
            plan_of("depth", {"rgb": ("HALF", (1, 4, 8, 3))}, {"depth": ("INT8", (1, 4, 8))}),
            "computes with tensors of .*, which no bundle has",
        ),
        (
            plan_of("depth", {"rgb": ("UINT8", (1, -1, 8, 3))}, {"depth": ("FLOAT", (1, 4, 8))}),
            r"depth.onnx: rgb has no fixed shape: \(1, -1, 8, 3\)",
        ),
    ],
)
def test_a_plan_that_cannot_be_used_is_named(rig: GpuRig, depth: bytes, message: str) -> None:
    rig.store(depth, POSE)
    with pytest.raises(EngineError, match=message):
        rig.open()
    rig.check_released()


def test_a_plan_of_another_contract_is_named(rig: GpuRig) -> None:
    other = plan_of("depth", {"rgb": ("UINT8", (1, 4, 8, 3))}, {"depth": ("FLOAT", (1, 8, 4))})
    rig.store(other, POSE)
    with pytest.raises(ModelError, match=r"depth.onnx follows another contract.*1, 8, 4"):
        rig.open()
    rig.check_released()


def test_an_image_of_another_size_is_an_engine_error(rig: GpuRig) -> None:
    rig.store(DEPTH, POSE)
    engine = rig.open()
    small = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(EngineError, match=r"depth.onnx takes uint8 \(1, 4, 8, 3\), not uint8"):
        engine.infer(window_of(small, small, small))
    engine.close()
