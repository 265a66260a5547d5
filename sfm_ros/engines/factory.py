"""Creates the engine of a configuration."""

from __future__ import annotations

from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.registry import ENGINES, load_engine
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
    """Load the bundle with the configured engine; ``auto`` takes the first that works.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed, or it does not work on this machine.
    """
    bundle = resolve_bundle(config.bundle)
    if config.engine != "auto":
        return load_engine(config.engine, bundle, config)
    reasons = []
    for name in ENGINES:
        try:
            return load_engine(name, bundle, config)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError(f"no inference engine can be used: {'; '.join(reasons)}")
