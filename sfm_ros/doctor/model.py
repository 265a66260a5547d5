"""The model bundle and the engine that runs it."""

from __future__ import annotations

import time
from importlib import metadata
from pathlib import Path

import numpy as np

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.doctor.finding import Finding, fail, ok
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import create_engine, resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu")
_GPU_FILE = Path("/proc/driver/nvidia/version")
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
    """Load the engine that the node would use and time an inference."""
    libraries = ", ".join(f"{n} {v}" for n, v in library_versions().items()) or "no library"
    try:
        engine = create_engine(config)
    except SfmRosError as error:
        advice = (
            "see the reason; free memory, or name another bundle in model.bundle"
            if library_versions()
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
    found = [ok("engine", f"{engine.name}, {inference_ms:.0f} ms per image here, {libraries}")]
    if _GPU_FILE.exists() and engine.name == "onnx":
        found.append(
            ok("gpu", "an NVIDIA GPU is present and not used: ONNX Runtime runs on the CPU")
        )
    return found


def library_versions() -> dict[str, str]:
    """Versions of the installed inference libraries."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _inference_ms(engine: Engine) -> float:
    """Milliseconds per image, the best of a few."""
    spec = engine.spec
    gray = np.full((spec.height, spec.width, 3), 128, dtype=np.uint8)
    window = Window(
        images=(gray,) * spec.sequence_length,
        stamps_ns=tuple(range(spec.sequence_length)),
        intrinsics=CameraIntrinsics(
            width=spec.width,
            height=spec.height,
            fx=spec.training_fx,
            fy=spec.training_fx,
            cx=spec.width / 2,
            cy=spec.height / 2,
        ),
    )
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        engine.infer(window)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)
