"""The options of a command that name a model bundle and its inference engine."""

from __future__ import annotations

import argparse

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import ConfigError


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, ``--engine`` and ``--threads``."""
    default = ModelConfig()
    parser.add_argument("--model", default=default.bundle, help="model bundle: folder or name")
    engines = ModelConfig.__dataclass_fields__["engine"].metadata["choices"]
    parser.add_argument("--engine", default=default.engine, choices=engines, help="inference")
    parser.add_argument("--threads", type=int, default=default.threads, help="CPU threads")


def open_engine(options: argparse.Namespace) -> Engine:
    """The engine of `add_engine_options`.

    Raises:
        ConfigError: the number of threads is not positive.
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed.
    """
    if options.threads < 1:
        raise ConfigError(f"--threads is {options.threads}, expected at least 1")
    return open_bundle(options.model, options.threads, options.engine)


def open_bundle(bundle: str, threads: int, engine: str = ModelConfig().engine) -> Engine:
    """A model bundle, by its folder or name, as an engine; errors as for `open_engine`."""
    return create_engine(ModelConfig(bundle=bundle, engine=engine, threads=threads))
