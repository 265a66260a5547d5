"""The options of a command that name a model bundle and its inference engine."""

from __future__ import annotations

import argparse
from dataclasses import replace

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import bundle_for, create_engine
from sfm_ros.errors import ConfigError

_MOST_THREADS = ModelConfig.__dataclass_fields__["threads"].metadata["maximum"]


def add_engine_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--model``, ``--engine``, ``--precision`` and ``--threads``; None if not given."""
    fields = ModelConfig.__dataclass_fields__
    parser.add_argument("--model", help="model bundle: folder or name")
    for name, text in (("engine", "inference engine"), ("precision", "numbers it computes with")):
        choices = fields[name].metadata["choices"]
        parser.add_argument(f"--{name}", choices=choices, help=f"{text} (default: auto)")
    parser.add_argument("--threads", type=int, help="CPU threads of one inference")


def with_engine_options(model: ModelConfig, options: argparse.Namespace) -> ModelConfig:
    """The configuration with what `add_engine_options` has read.

    Raises:
        ConfigError: the number of threads is out of range.
    """
    threads = options.threads
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise ConfigError(f"--threads is {threads}, expected 1 to {_MOST_THREADS}")
    named = {"bundle": options.model, "engine": options.engine, "precision": options.precision}
    given = {
        key: value for key, value in {**named, "threads": threads}.items() if value is not None
    }
    return replace(model, **given)


def with_default_model(model: ModelConfig, kind: str | None) -> ModelConfig:
    """The model for a kind of input, see `bundle_for`."""
    return replace(model, bundle=bundle_for(model.bundle, kind == "kitti"))


def open_engine(options: argparse.Namespace, kind: str | None = None) -> Engine:
    """The engine of `add_engine_options` for a kind of input.

    Raises:
        ConfigError: the number of threads is out of range.
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed, or it does not work here.
    """
    model = with_engine_options(ModelConfig(), options)
    return create_engine(with_default_model(model, kind))


def open_bundle(bundle: str, threads: int) -> Engine:
    """A model bundle, by its folder or name, as an engine; errors as for `open_engine`."""
    return create_engine(ModelConfig(bundle=bundle, threads=threads))
