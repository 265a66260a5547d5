"""The model bundle and the engine that runs it."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping

from sfm_ros.config import ModelConfig
from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import fastest_engine, resolve_bundle
from sfm_ros.engines.registry import AUTO, CPU_PACKAGES, ENGINES
from sfm_ros.engines.tensorrt.cuda import has_driver
from sfm_ros.engines.window_runner import gray_windows
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import package_versions
from sfm_ros.model_spec import ModelSpec

_OPENVINO = f"{ENGINES['openvino'].install}: on x86-64 it takes about half of the time"
_IDLE_GPU = "an NVIDIA GPU is present and not used: the networks run on the CPU"
_RUNS = 3


def check_model(config: ModelConfig) -> tuple[list[Finding], ModelSpec | None]:
    """Whether the bundle is complete, and its specification if it is."""
    try:
        bundle = resolve_bundle(config.bundle)
        spec = ModelSpec.load(bundle)
    except SfmRosError as error:
        return [fail("model", str(error), "name a bundle in model.bundle")], None
    units = "meters" if spec.metric else "network units without a scale"
    about = (
        f"{spec.name}, input {spec.width}x{spec.height}, {units}, sha256 "
        f"{spec.depth_sha256[:12]} {spec.pose_sha256[:12]}, {bundle}"
    )
    return [ok("model", about)], spec


def check_engine(config: ModelConfig) -> list[Finding]:
    """Load the engine that the node would use and time an inference.

    With ``auto`` it is measured which one that is, unless it is remembered.
    """
    installed = package_versions(CPU_PACKAGES)
    libraries = ", ".join(f"{n} {v}" for n, v in installed.items()) or "no library"
    lines: list[str] = []
    try:
        engine = fastest_engine(config, lambda line, _: lines.append(line))
    except SfmRosError as error:
        advice = (
            "see the reason; free memory, or name another bundle in model.bundle"
            if installed
            else "pip install onnxruntime"
        )
        return [fail("engine", f"{error} (installed: {libraries})", advice)]
    try:
        inference_ms = _inference_ms(engine)
    except SfmRosError as error:
        advice = "export the bundle again with training/export.py, or reinstall onnxruntime"
        return [fail("engine", f"{error} (installed: {libraries})", advice)]
    finally:
        engine.close()
    about = f"{engine.name} {engine.precision}, {inference_ms:.0f} ms per image here"
    idle = [_IDLE_GPU] if has_driver() and _is_on_cpu(engine) else []
    found = [ok("engine", "; ".join([f"{about}, {libraries}", *lines[-1:], *idle]))]
    if _misses_openvino(config, installed):
        found.append(warn("openvino", "not installed", _OPENVINO))
    return found


def _is_on_cpu(engine: Engine) -> bool:
    return engine.name in ENGINES and not ENGINES[engine.name].is_gpu


def _misses_openvino(config: ModelConfig, installed: Mapping[str, str]) -> bool:
    is_admitted = config.engine == AUTO and platform.machine() == "x86_64"
    return is_admitted and "openvino" not in installed


def _inference_ms(engine: Engine) -> float:
    """Milliseconds per image, the best of a few."""
    windows, times = gray_windows(engine.spec), []
    for _ in range(_RUNS):
        started = time.perf_counter()
        engine.infer(next(windows))
        times.append(time.perf_counter() - started)
    return 1000 * min(times)
