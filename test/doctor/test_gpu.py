"""The doctor names what a GPU lacks: driver, bindings, TensorRT, engines, a cache."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_gpu.cuda import FakeCuda
from fake_gpu.rig import GpuRig, make_rig
from findings import only

from sfm_ros.config import ModelConfig
from sfm_ros.doctor import gpu as doctor
from sfm_ros.doctor.finding import Finding, Level
from sfm_ros.engines.engine_cache import OWN_FOLDER, EngineCache
from sfm_ros.engines.tensorrt import cuda as cuda_module
from sfm_ros.model_spec import ModelSpec


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuRig:
    rig = make_rig(tmp_path, monkeypatch)
    monkeypatch.setattr(doctor, "has_driver", lambda: True)
    return rig


def findings(rig: GpuRig, cache: EngineCache | None = None) -> dict[str, Finding]:
    spec = ModelSpec.load(rig.bundle)
    found = doctor.check_gpu(ModelConfig(bundle="road"), spec, cache or rig.cache)
    return {finding.check: finding for finding in found}


def levels(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.level.value for name, finding in found.items()}


def test_a_ready_gpu_is_described(rig: GpuRig) -> None:
    rig.store()
    found = findings(rig)
    assert set(levels(found).values()) == {"OK"}
    assert found["gpu"].found == "Fake Orin, compute capability 8.7, CUDA 12.6"
    assert found["tensorrt"].found == "TensorRT 10.3.0"
    assert found["engines"].found == "fp32 ready"
    assert "3 files, 0 MiB" in found["engine cache"].found


def test_engines_that_are_missing_or_refused_are_named(rig: GpuRig) -> None:
    found = findings(rig)["engines"]
    assert (found.level, found.found) == (Level.WARN, "fp32 not built")
    assert "sfm_build_engine road" in found.advice
    rig.store(accepted=False)
    found = findings(rig)["engines"]
    assert found.level is Level.WARN and "fp32 refused (the engines are refused" in found.found


def test_a_damaged_cache_is_named(rig: GpuRig) -> None:
    rig.store()
    path = next(e.path for e in rig.cache.entries() if "graph" not in e.facts)
    path.write_bytes(path.read_bytes()[:-1])
    found = findings(rig)
    assert found["engines"].found == "fp32 damaged"
    assert "1 damaged" in found["engine cache"].found and "--prune" in found["engine cache"].advice


def test_a_foreign_file_is_not_called_damaged(rig: GpuRig) -> None:
    rig.store()
    (rig.cache.own / f"{'0' * 24}.engine").write_bytes(b"of another program")
    found = findings(rig)["engine cache"]
    assert found.level is Level.OK and "4 files" in found.found


def test_a_cache_that_cannot_be_written_is_named(rig: GpuRig) -> None:
    rig.monkeypatch.setattr(EngineCache, "is_writable", lambda self: False)
    found = findings(rig)["engine cache"]
    assert found.level is Level.WARN and "not writable" in found.found
    assert OWN_FOLDER in found.advice


def test_a_missing_library_is_named_with_what_to_install(rig: GpuRig) -> None:
    rig.monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = findings(rig)
    assert levels(found) == {"gpu": "OK", "tensorrt": "WARN"}
    assert "pip install tensorrt" in found["tensorrt"].advice


def test_a_device_that_does_not_answer_is_named(rig: GpuRig) -> None:
    rig.use(FakeCuda(devices=0), "10")
    assert "finds no GPU" in only(findings(rig).values()).found

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'cuda'")

    rig.monkeypatch.setattr(cuda_module, "_imported_runtime", missing)
    found = only(findings(rig).values())
    assert "No module named 'cuda'" in found.found and "cuda-bindings" in found.advice


@pytest.mark.parametrize(
    ("files", "level"),
    [
        ({}, Level.OK),
        ({"0/vendor": "0x8086\n", "0/class": "0x030000\n"}, Level.OK),
        ({"0/vendor": "0x10de\n", "0/class": "0x040300\n"}, Level.OK),  # the sound of a card
        ({"0/vendor": "0x10de\n", "0/class": "0x030200\n"}, Level.WARN),
        ({"compatible": "nvidia,p3768-0000\0nvidia,tegra234\0"}, Level.WARN),
    ],
)
def test_a_card_without_a_driver_is_named(rig: GpuRig, tmp_path: Path, files, level) -> None:
    for name, text in files.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(text)
    rig.monkeypatch.setattr(doctor, "has_driver", lambda: False)
    rig.monkeypatch.setattr(doctor, "_PCI", tmp_path / "sys")
    rig.monkeypatch.setattr(doctor, "_BOARD", tmp_path / "sys" / "compatible")
    assert only(findings(rig).values()).level is level
