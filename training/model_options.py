"""Command-line options that select a training checkpoint or a model bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from sfm_ros.cli.engine_options import add_engine_options, open_bundle, open_engine
from sfm_ros.engines.base import Engine
from training.torch_engine import TorchEngine


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint`` and ``--device`` to the options of a bundle."""
    parser.add_argument(
        "--checkpoint", type=Path, help="a .pt file of train.py, instead of a bundle"
    )
    parser.add_argument("--device", default="cpu", help="device of the checkpoint (default: cpu)")
    add_engine_options(parser)


def open_model(options: argparse.Namespace) -> Engine:
    """The checkpoint, or else the bundle, as an engine.

    Raises:
        SfmRosError: it cannot be read or run.
    """
    if options.checkpoint is None:
        return open_engine(options)
    torch.set_num_threads(options.threads)
    return TorchEngine(options.checkpoint, options.device)


def open_named_model(name: str, threads: int = 2) -> Engine:
    """A checkpoint (``.pt``) or a bundle (its folder or name) as an engine.

    Raises:
        SfmRosError: it cannot be read or run.
    """
    if name.endswith(".pt"):
        return TorchEngine(Path(name))
    return open_bundle(name, threads)
