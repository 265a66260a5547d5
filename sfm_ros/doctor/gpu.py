"""The GPU, its driver, TensorRT, and the engines that were built for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.doctor.finding import Finding, ok, warn
from sfm_ros.doctor.start import start_of
from sfm_ros.engines.engine_cache import OWN_FOLDER, EngineCache
from sfm_ros.engines.registry import ENGINES
from sfm_ros.engines.tensorrt.bundle import Machine
from sfm_ros.engines.tensorrt.cuda import Cuda, has_driver
from sfm_ros.engines.tensorrt.gate import require_accepted
from sfm_ros.engines.tensorrt.identity import ANY_GPU, engine_identities
from sfm_ros.engines.tensorrt.library import load_library
from sfm_ros.errors import EngineError, EngineNotBuiltError, OutputError
from sfm_ros.model_spec import ModelSpec

_NVIDIA = "0x10de"
_DISPLAY = "0x03"
"""Vendor and class of a graphics card on the PCI bus."""
_PCI = Path("/sys/bus/pci/devices")
_BOARD = Path("/proc/device-tree/compatible")
_JETSON = "nvidia,tegra"
_EVERY_PRECISION = tuple(ENGINES["tensorrt"].variants)


def check_gpu(
    config: ModelConfig, spec: ModelSpec, cache: EngineCache | None = None
) -> list[Finding]:
    """What an NVIDIA GPU needs to run the networks; one finding where there is none.

    Args:
        config: names the bundle.
        spec: of the bundle.
        cache: of built engines; by default that of this user.
    """
    if not has_driver():
        if not has_nvidia_card():
            return [ok("gpu", "no NVIDIA GPU, the networks run on the CPU")]
        return [warn("gpu", "an NVIDIA GPU without a driver", "install NVIDIA's driver")]
    try:
        gpu = Cuda().gpu
    except ModuleNotFoundError as error:
        return [warn("gpu", f"an NVIDIA driver, but {error}", ENGINES["tensorrt"].install)]
    except EngineError as error:
        return [warn("gpu", str(error), "install cuda-bindings of the driver's CUDA version")]
    about = f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.driver}"
    found = [ok("gpu", about)]
    try:
        library = load_library()
    except (ModuleNotFoundError, EngineError) as error:
        return [*found, warn("tensorrt", str(error), ENGINES["tensorrt"].install)]
    found.append(ok("tensorrt", f"{library.name} {library.version}"))
    cache = cache or EngineCache()
    found += _check_engines(config, spec, Machine(library, gpu), cache)
    return [*found, *_check_cache(cache)]


def has_nvidia_card() -> bool:
    """Whether the hardware is there, with or without a driver: on the PCI bus, or a Jetson."""
    for device in _PCI.glob("*"):
        if _text(device / "vendor") == _NVIDIA and _text(device / "class").startswith(_DISPLAY):
            return True
    return _JETSON in _text(_BOARD)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _check_engines(
    config: ModelConfig, spec: ModelSpec, machine: Machine, cache: EngineCache
) -> Iterator[Finding]:
    """Whether there are engines of this bundle, in any precision."""
    states = {}
    for precision in _EVERY_PRECISION:
        if precision in ("fp32", *spec.variants):
            states[precision] = _state(spec, precision, machine, cache)
    text = ", ".join(f"{precision} {state}" for precision, state in states.items())
    if "ready" in states.values():
        yield ok("engines", text)
    else:
        advice = f"{start_of('sfm_build_engine')} {config.bundle}; with auto the node does it"
        yield warn("engines", text, advice)


def _state(spec: ModelSpec, precision: str, machine: Machine, cache: EngineCache) -> str:
    identities = engine_identities(machine.library, machine.gpu, spec, precision)
    try:
        require_accepted(cache, identities, machine.gpu or ANY_GPU)
        for identity in identities:
            cache.load(identity)
    except EngineNotBuiltError as error:
        return "damaged" if "damaged" in str(error) else "not built"
    except EngineError as error:
        return f"refused ({error})"
    return "ready"


def _check_cache(cache: EngineCache) -> Iterator[Finding]:
    """Whether engines can be kept."""
    try:
        is_writable = cache.is_writable()
    except OutputError as error:
        yield warn("engine cache", str(error), f"set {OWN_FOLDER}")
        return
    entries = cache.entries()
    size = sum(entry.size for entry in entries) / 2**20
    about = f"{len(entries)} files, {size:.0f} MiB, in {cache.own}"
    damaged = sum(bool(entry.fault) and not entry.is_foreign for entry in entries)
    if not is_writable:
        yield warn("engine cache", f"{about}, not writable", f"change that or set {OWN_FOLDER}")
    elif damaged:
        advice = f"{start_of('sfm_build_engine')} --prune"
        yield warn("engine cache", f"{about}, {damaged} damaged", advice)
    else:
        yield ok("engine cache", about)
