"""Creates the engine of a configuration."""

from __future__ import annotations

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
    """Load the configured bundle into an engine.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed.
    """
    bundle = resolve_bundle(config.bundle)
    try:
        from sfm_ros.engines.onnx_engine import OnnxEngine
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime is not installed ({error}); install it with: pip install onnxruntime"
        ) from error
    return OnnxEngine(bundle, threads=config.threads)
