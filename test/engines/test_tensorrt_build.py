"""Building with each version of TensorRT: flags, progress, timing cache, and errors with names."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from fake_gpu.cuda import FakeCuda
from fake_gpu.rig import GpuRig, make_rig
from fake_gpu.tensorrt import VERSIONS, ParserError

from sfm_ros.engines.tensorrt.builder import BuildProgress, build_flags, build_plan
from sfm_ros.engines.tensorrt.library import load_library
from sfm_ros.errors import EngineError

NETWORK_FLAGS = {
    "8.6": ["EXPLICIT_BATCH"],
    "10": ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
    "11": ["STRONGLY_TYPED"],
    "RTX": ["STRONGLY_TYPED"],
}
FLAGS_8 = {"fp32": [], "fp16": ["FP16"], "int8": ["INT8", "FP16"]}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    return make_rig(tmp_path, monkeypatch)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("kind", list(VERSIONS))
def test_each_version_gets_the_flags_that_it_has(rig: GpuRig, kind: str, precision: str) -> None:
    rig.use(FakeCuda(), kind)
    library = load_library()
    assert library.name == ("TensorRT-RTX" if kind == "RTX" else "TensorRT")
    built = build_plan(library, b"onnx", precision, timings=b"t")
    assert built.plan == b"{}"
    flags = FLAGS_8[precision] if kind == "8.6" else []
    timings = None if kind == "RTX" else b"t"
    assert built.timings == (b"" if kind == "RTX" else b"t+")
    assert rig.trt.log == [
        ("network", NETWORK_FLAGS[kind]), ("parse", 4), ("build", flags, timings),
    ]  # fmt: skip
    assert ("types by flags" in build_flags(library)) == (kind == "8.6")


@pytest.mark.parametrize("kind", list(VERSIONS))
def test_progress_is_reported_from_version_10_on_and_can_end_the_build(
    rig: GpuRig, kind: str
) -> None:
    rig.use(FakeCuda(), kind)
    shares: list[float] = []
    build_plan(load_library(), b"onnx", "fp32", lambda share: not shares.append(share))
    assert shares == ([] if kind == "8.6" else [0.5, 1.0])
    if kind != "8.6":
        with pytest.raises(EngineError, match="did not build: Build canceled by user"):
            build_plan(load_library(), b"onnx", "fp32", lambda share: False)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("8.6", "8.6.2 cannot run this graph: node 3: Invalid Node - warp Plugin not found; node"),
        ("10", r"node 'warp' \(GridSample\): Plugin not found; node 'sum' \(Einsum\): odd"),
    ],
)
def test_unsupported_nodes_are_named(rig: GpuRig, kind: str, message: str) -> None:
    rig.use(FakeCuda(), kind)
    rig.trt.parse_errors = [
        ParserError(kind, 3, "warp", "GridSample", "Invalid Node - warp\nPlugin not found"),
        ParserError(kind, 4, "sum", "Einsum", "odd"),
    ]
    with pytest.raises(EngineError, match=message):
        build_plan(load_library(), b"onnx", "fp32")


def test_a_build_without_result_states_what_the_library_logged(rig: GpuRig) -> None:
    rig.trt.built = None
    for _ in range(2):  # the second message is not the first one again
        with pytest.raises(EngineError) as error:
            build_plan(load_library(), b"onnx", "fp32")
        assert str(error.value) == "TensorRT 10.3.0 did not build: no kernel for this layer"


def test_building_makes_no_runtime_and_needs_no_gpu(rig: GpuRig) -> None:
    build_plan(load_library(), b"onnx", "fp32")
    assert not rig.cuda.was_probed and rig.trt.alive == []


# The share of a build that is done


def test_inner_phases_are_parts_of_a_step() -> None:
    progress = BuildProgress()
    progress.start("build", None, 4)
    progress.step("build", 0)
    assert progress.share == 0.25
    progress.start("tactics", "build", 10)
    progress.step("tactics", 4)
    assert progress.share == pytest.approx(0.25 + 0.5 / 4)
    progress.finish("tactics")
    progress.step("build", 1)
    assert progress.share == 0.5
    progress.start("again", "build", 0)
    progress.step("again", 7)
    assert progress.share == 0.75  # a phase is never more than its step
    progress.step("build", 0)
    assert progress.share == 0.75  # and the share never falls


def test_phases_may_be_reported_from_several_threads() -> None:
    progress, errors = BuildProgress(), []  # type: ignore[var-annotated]
    progress.start("build", None, 4)

    def report(name: str) -> None:
        try:
            for number in range(2000):
                progress.start(f"{name}{number}", "build", 2)
                progress.step(f"{name}{number}", 0)
                progress.step("build", number % 3)
                progress.finish(f"{name}{number}")
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=report, args=(name,)) for name in "abcd"]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == [] and 0.75 <= progress.share <= 1.0


# Libraries that are there and cannot be used


class BrokenFinder:
    """Imports one module as it does where a part of it is missing."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.error = name, error

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.name:
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("libnvonnxparser.so.11: cannot open"), "cannot be loaded: libnvonnxparser"),
        (RuntimeError("no wheel of this platform"), "cannot be loaded: no wheel"),
        (ModuleNotFoundError("No module named 'tensorrt_libs'", name="tensorrt_libs"),
         "TensorRT lacks a part: No module named 'tensorrt_libs'"),
    ],
)  # fmt: skip
def test_a_library_that_does_not_load_is_an_engine_error(rig, error, message) -> None:
    rig.monkeypatch.delitem(sys.modules, "tensorrt")
    rig.monkeypatch.setattr(sys, "meta_path", [BrokenFinder("tensorrt", error), *sys.meta_path])
    with pytest.raises(EngineError, match=message):
        load_library()


def test_rtx_is_taken_where_tensorrt_does_not_load(rig: GpuRig) -> None:
    rig.use(FakeCuda(), "RTX")
    rig.monkeypatch.delitem(sys.modules, "tensorrt")
    broken = BrokenFinder("tensorrt", ImportError("libnvinfer.so.11"))
    rig.monkeypatch.setattr(sys, "meta_path", [broken, *sys.meta_path])
    assert load_library().name == "TensorRT-RTX"
