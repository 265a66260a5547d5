"""sfm_build_engine on a machine with a fake GPU: building, comparing, listing, exit codes."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_gpu.cuda import FakeCuda
from fake_gpu.rig import DEPTH, POSE, GpuRig, make_rig
from fake_gpu.tensorrt import ParserError
from writers.trees import small_disk

from sfm_ros.cli.build_engine import REFUSED, UNAVAILABLE, main
from sfm_ros.cli.build_progress import BuildReport, seconds_left
from sfm_ros.engines.engine_cache import OWN_FOLDER, SHARED_FOLDERS, EngineCache
from sfm_ros.engines.fake_engine import FakeEngine
from sfm_ros.engines.tensorrt import builder, bundle
from sfm_ros.engines.tensorrt import cuda as cuda_module
from sfm_ros.engines.tensorrt_engine import TensorRtEngine
from sfm_ros.errors import EngineError
from sfm_ros.geometry import inverse, make_transform
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


def reference(spec: ModelSpec, factor: float = 1.0) -> FakeEngine:
    """Computes what the fake networks do, but for a factor of the depth."""

    def increments(window: Window) -> np.ndarray:
        red = [image[..., 0].mean(dtype=np.float64) for image in window.images]
        z = [0.0, *np.diff(red).astype(np.float32)]
        T_frame_0 = [make_transform(np.eye(3), [0.0, 0.0, length]) for length in z]
        return np.stack([a @ inverse(b) for a, b in zip(T_frame_0, T_frame_0[1:], strict=False)])

    def depth(window: Window) -> np.ndarray:
        return (window.images[-1][..., 0].astype(np.float32) + 1) * factor

    return FakeEngine(spec, increments, depth)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    rig = make_rig(tmp_path, monkeypatch)
    prepare(rig, "10")
    return rig


def prepare(rig: GpuRig, kind: str, factor: float = 1.0, cuda: FakeCuda | None = None) -> None:
    """The library builds working plans, and the reference is there."""
    rig.use(cuda or FakeCuda(), kind)
    rig.trt.plans = {b"graph of depth.onnx": lambda: DEPTH, b"graph of pose.onnx": lambda: POSE}
    spec = ModelSpec.load(rig.bundle)
    rig.monkeypatch.setattr(bundle, "load_engine", lambda *_: reference(spec, factor))


def build(rig: GpuRig, *options: str) -> int:
    return main([str(rig.bundle), "--cache", str(rig.cache.own), *options])


def builds(rig: GpuRig) -> int:
    return sum(entry[0] == "build" for entry in rig.trt.log)


@pytest.mark.parametrize("kind", ["8.6", "10", "11", "RTX"])
def test_what_is_built_is_compared_and_then_loaded(rig: GpuRig, kind: str, capsys) -> None:
    prepare(rig, kind)
    assert build(rig) == 0
    text = capsys.readouterr().err
    assert "built: depth.onnx, pose.onnx" in text
    assert re.search(r"tensorrt against fake on 6 windows: accepted \(depth median 0, ", text)
    rig.open().close()
    assert build(rig) == 0 and builds(rig) == 2
    assert "nothing to build" in capsys.readouterr().err
    rig.check_released()


def test_a_wrong_engine_is_refused_and_stays_refused(rig: GpuRig, capsys) -> None:
    prepare(rig, "10", factor=1.2)
    assert build(rig) == REFUSED
    assert re.search(r"ERROR: refused: .*depth median 0.17, limit 0.001", capsys.readouterr().err)
    with pytest.raises(EngineError, match="the engines are refused: .*depth median 0.17"):
        rig.open()
    assert build(rig) == 1  # and not built again
    assert "are refused" in capsys.readouterr().err and builds(rig) == 2
    prepare(rig, "10")
    assert build(rig, "--force") == 0 and builds(rig) == 2
    rig.open().close()


def test_the_lines_of_progress(rig: GpuRig, capsys) -> None:
    assert build(rig, "--progress-lines") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "progress 0.000 - building depth.onnx, 0 s so far"
    assert lines[1] == "progress 0.500 - building pose.onnx, 0 s so far"
    assert lines[-1] == "done"


def test_times_of_kernels_serve_the_next_build(rig: GpuRig) -> None:
    assert build(rig) == 0
    timings = [entry[2] for entry in rig.trt.log if entry[0] == "build"]
    assert timings == [b"", b"+"]


def test_auto_is_fp16_if_the_card_allows_it(rig: GpuRig) -> None:
    spec = ModelSpec.load(rig.bundle)
    for loss, expected in ((0.05, "fp32"), (0.001, "fp16")):
        metrics = {"abs_rel_change": loss, "t_err_change": 0.0}
        variant = dataclasses.replace(spec.graphs(), metrics=metrics)
        dataclasses.replace(spec, variants={"fp16": variant}).save(rig.bundle)
        assert build(rig) == 0
        found = {e.identity.precision for e in rig.cache.entries() if e.identity}
        assert (expected in found) and (("fp16" in found) == (expected == "fp16"))


def test_rtx_builds_without_a_gpu(rig: GpuRig, capsys) -> None:
    prepare(rig, "RTX")
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: False)
    assert build(rig) == 0
    assert "not compared with ONNX Runtime: no GPU here" in capsys.readouterr().err
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: True)
    with pytest.raises(EngineError, match="compared with a reference"):
        rig.open()
    assert build(rig) == 0 and builds(rig) == 2
    rig.open().close()


def test_where_nothing_can_be_built_the_reason_is_named(rig: GpuRig, capsys) -> None:
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: False)
    assert build(rig) == UNAVAILABLE
    assert "ERROR: no NVIDIA driver on this machine" in capsys.readouterr().err
    rig.monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert build(rig) == UNAVAILABLE
    assert "'tensorrt'" in (text := capsys.readouterr().err) and "install it with" in text
    assert rig.cache.entries() == [] and builds(rig) == 0


def test_an_unsupported_node_is_named(rig: GpuRig, capsys) -> None:
    rig.trt.parse_errors = [ParserError("10", 1, "warp", "GridSample", "Plugin not found")]
    assert build(rig) == 1
    text = capsys.readouterr().err
    assert "node 'warp' (GridSample): Plugin not found; export the model again" in text


def test_a_full_disk_is_a_reason_before_the_build(rig: GpuRig, tmp_path: Path, capsys) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        assert main([str(rig.bundle), "--cache", str(disk)]) == 1
        assert "MiB are needed; make room" in capsys.readouterr().err
        assert list(disk.iterdir()) == [] and builds(rig) == 0


def test_a_disk_that_fills_up_is_a_reason(rig: GpuRig, tmp_path: Path, capsys) -> None:
    rig.trt.plans[b"graph of depth.onnx"] = lambda: bytes(2**21)
    rig.monkeypatch.setattr(bundle, "require_room", lambda *_: None)
    with small_disk(tmp_path / "disk", 1) as disk:
        assert main([str(rig.bundle), "--cache", str(disk)]) == 1
        assert "No space left on device; make room" in capsys.readouterr().err
        assert list(disk.iterdir()) == []


def test_a_shared_cache_serves_where_nothing_can_be_written(rig: GpuRig, capsys) -> None:
    rig.monkeypatch.setenv(OWN_FOLDER, "/proc/nowhere")
    assert main([str(rig.bundle)]) == 1
    assert "cannot write the engine cache /proc/nowhere" in capsys.readouterr().err
    assert build(rig) == 0
    rig.monkeypatch.setenv(SHARED_FOLDERS, str(rig.cache.own))
    assert main([str(rig.bundle)]) == 0
    assert "nothing to build" in capsys.readouterr().err
    TensorRtEngine(rig.bundle).close()


def test_ctrl_c_ends_the_build_and_leaves_nothing(rig: GpuRig) -> None:
    def interrupted(self, phase, step):
        raise KeyboardInterrupt

    rig.monkeypatch.setattr(builder.BuildProgress, "step", interrupted)
    assert build(rig) == 130
    assert list(rig.cache.own.iterdir()) == []


# List and prune


def test_useless_files_are_listed_and_removed(rig: GpuRig, capsys) -> None:
    assert build(rig) == 0
    other = FakeCuda()
    other.cudaDriverGetVersion = lambda: (0, 13000)  # type: ignore[method-assign]
    prepare(rig, "10", cuda=other)
    assert build(rig) == 0
    (rig.cache.own / f"{'0' * 24}.engine").write_bytes(b"SFMENG1\nhalf")
    (rig.cache.own / f".{'0' * 24}.engine.1.ab.new").write_bytes(b"half")
    capsys.readouterr()
    assert main(["--list", "--cache", str(rig.cache.own)]) == 0
    text = capsys.readouterr().out
    assert text.count("of GPU Fake Orin, driver 12.6") == 4  # depth, pose, timings, parity
    assert text.count(", ready\n") == 4 and text.count("is damaged") == 1
    assert re.search(r"fake depth.onnx fp32, TensorRT 10.3.0, GPU Fake Orin, 20\d\d-", text)
    assert "9 files" in text and text.count(" parity accepted fp32, ") == 2
    assert main(["--prune", "--cache", str(rig.cache.own)]) == 0
    text = capsys.readouterr().out
    assert text.count("deleted ") == 5 and "4 files" in text
    assert len(list(rig.cache.own.iterdir())) == 4
    rig.open().close()


def test_without_a_gpu_only_damaged_files_are_removed(rig: GpuRig, capsys) -> None:
    assert build(rig) == 0
    (rig.cache.own / f"{'0' * 24}.engine").write_bytes(b"SFMENG1\nhalf")
    rig.monkeypatch.setattr(cuda_module, "has_driver", lambda: False)
    assert main(["--prune", "--cache", str(rig.cache.own)]) == 0
    output = capsys.readouterr()
    assert output.out.count("deleted ") == 1 and "is unknown here: no NVIDIA" in output.err


def test_files_of_others_are_never_deleted(rig: GpuRig, capsys) -> None:
    assert build(rig) == 0
    names = ("x.engine", ".y.new", f"{'a' * 24}.engine")
    for name in names:
        (rig.cache.own / name).write_bytes(b"of another program")
    capsys.readouterr()
    assert main(["--prune", "--cache", str(rig.cache.own)]) == 0
    text = capsys.readouterr().out
    assert "deleted" not in text and text.count(", foreign, left alone: it is not an") == 1
    assert all((rig.cache.own / name).exists() for name in names)


def test_an_empty_cache_is_listed(rig: GpuRig, tmp_path: Path, capsys) -> None:
    rig.monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "absent"))
    assert main(["--list"]) == main(["--prune"]) == 0
    assert "0 files" in capsys.readouterr().out and EngineCache().entries() == []


# Estimates


@pytest.mark.parametrize(
    ("elapsed", "share", "expected", "left"),
    [
        (10.0, 0.0, None, None),
        (10.0, 0.0, 60.0, 50.0),
        (90.0, 0.0, 60.0, 0.0),
        (10.0, 0.01, 60.0, 50.0),
        (10.0, 0.25, 60.0, 30.0),
        (10.0, 1.0, None, 0.0),
    ],
)
def test_the_rest_of_a_build(elapsed, share, expected, left) -> None:
    assert seconds_left(elapsed, share, expected) == left


def test_a_library_without_progress_is_estimated_by_the_last_build(capsys) -> None:
    now = [100.0]
    report = BuildReport(2, is_for_programs=True, clock=lambda: now[0])
    report.begin("depth.onnx", 40.0)
    report.end()
    now[0] += 30
    report.show()
    now[0] += 1000
    report.show()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "progress 0.000 40 building depth.onnx, 0 s so far",
        "progress 0.375 10 building depth.onnx, 30 s so far",
        "progress 0.495 0 building depth.onnx, 1030 s so far",
    ]
