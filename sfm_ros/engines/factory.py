"""Creates the engine of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.errors import EngineError, ModelError

MODELS = Path(__file__).resolve().parents[1] / "models"
DEFAULT_MODEL = "road_small"


def resolve_bundle(bundle: str) -> Path:
    """Folder of a bundle, given as a path, the name of a shipped model, or ``default``.

    Raises:
        ModelError: no such folder or model.
    """
    shipped = MODELS / (DEFAULT_MODEL if bundle == "default" else bundle)
    if "/" not in bundle and shipped.is_dir():
        return shipped
    path = Path(bundle).expanduser()
    if path.is_dir():
        return path
    names = sorted(p.name for p in MODELS.iterdir() if p.is_dir()) if MODELS.is_dir() else []
    raise ModelError(
        f"no model '{bundle}': it is neither a folder nor a shipped model "
        f"({', '.join(names) or 'none is shipped with this installation'})"
    )


def create_engine(config: ModelConfig) -> Engine:
    """Load the bundle with the configured engine; ``auto`` takes the first that is installed.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed, or cannot be loaded.
    """
    bundle = resolve_bundle(config.bundle)
    names = list(_LOADERS) if config.engine == "auto" else [config.engine]
    missing = []
    for name in names:
        try:
            return _LOADERS[name](bundle, config)
        except ModuleNotFoundError as error:
            missing.append(f"{name} ({error})")
        # The library is there, but the memory does not suffice for it, or a part of it is missing.
        except (ImportError, MemoryError) as error:
            reason = str(error) or "the memory does not suffice"
            raise EngineError(f"the inference engine {name} cannot be loaded: {reason}") from error
    raise EngineError(
        f"no inference library is installed for: {', '.join(missing)}; install ONNX Runtime with: "
        "pip install onnxruntime"
    )


def _load_onnx(bundle: Path, config: ModelConfig) -> Engine:
    from sfm_ros.engines.onnx_engine import OnnxEngine

    return OnnxEngine(bundle, threads=config.threads)


_LOADERS: dict[str, Callable[[Path, ModelConfig], Engine]] = {"onnx": _load_onnx}
"""Engines by their name in ``model.engine``, fastest first."""
