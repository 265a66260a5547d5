"""Checkpoints, complete or absent: written to a temporary file, synced, renamed over the old one.

A checkpoint is a dictionary that ``torch.load(weights_only=True)`` can read:
``config`` plain values, ``model`` state, ``average`` state of the moving average or None,
``optimizer`` state or None, ``step`` done so far, ``best`` validation score so far or None,
``torch_rng`` state; and, in newer ones, ``scaler`` state of fp16 training or None, and ``watch``,
the state of the alarms.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfm_ros.errors import SfmRosError
from sfm_ros.safety.archives import check_stored
from training.config import RunConfig, TrainConfig, flat_items, load_config

LAST, BEST = "last.pt", "best.pt"
MAY_CHANGE = {"optim.steps", *(f"run.{f.name}" for f in fields(RunConfig) if f.name != "seed")}
"""Options that a resumed run may change: none that affects a step already done."""
KEYS = {"config", "model", "average", "optimizer", "step", "best", "torch_rng"}


class CheckpointError(SfmRosError):
    """A checkpoint cannot be written, read, or does not belong to this run."""


def save_checkpoint(path: Path, contents: dict[str, Any]) -> None:
    """Write a checkpoint; ``path`` always holds the old or the new one, complete.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(contents, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    # torch reports a failed write of its archive as RuntimeError.
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        kept = "the previous one is kept" if path.exists() else "there is no previous one"
        reason = "the disk is full, make room" if _is_full(error) else error
        raise CheckpointError(f"cannot write {path}: {reason} ({kept})") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of this program.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; train first, without --resume")
    try:
        check_stored(path)
        contents = torch.load(path, map_location="cpu", weights_only=True)
    # torch's reader raises errors of any kind on a damaged file.
    except Exception as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {_one_line(error)}") from error
    if not isinstance(contents, dict) or not contents.keys() >= KEYS:
        raise CheckpointError(
            f"{path} is not a checkpoint of this program; expected the entries {sorted(KEYS)}"
        )
    for key, (fits, expected) in _ENTRIES.items():
        value = contents.get(key)
        if not fits(value) and not (value is None and key in _OPTIONAL):
            raise CheckpointError(
                f"the checkpoint {path} is damaged: '{key}' is {type(value).__name__}, expected "
                f"{expected}"
            )
    refuse_full_size_decoder(path, {name: v.shape for name, v in contents["model"].items()})
    return contents


def refuse_full_size_decoder(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise if weights, by the shapes under their names, are of the light network before 0.2.

    Raises:
        CheckpointError: they are; a resnet has another layer of that name.
    """
    shape = shapes.get("depth_net.merge.4.0.weight", ())
    if len(shape) == 4 and shape[1] == 1:
        raise CheckpointError(
            f"{path} holds a light depth network whose decoder goes up to the full size of the "
            "image, as before version 0.2; train again, or go on with the version that wrote it"
        )


def _is_state(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


_STATE, _MAPPING = (_is_state, "tensors by their names"), (_is_mapping, "values by their names")
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "config": _MAPPING,
    "model": _STATE,
    "average": _STATE,
    "optimizer": _MAPPING,
    "step": (lambda v: type(v) is int and v >= 0, "a whole number from 0 up"),
    "best": (_is_number, "a number"),
    "torch_rng": (lambda v: isinstance(v, Tensor) and v.dtype == torch.uint8, "bytes"),
    "scaler": _MAPPING,
    "watch": _MAPPING,
}
_OPTIONAL = {"average", "optimizer", "best", "scaler", "watch"}


@contextlib.contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn what a state that does not fit raises in the block into a CheckpointError."""
    try:
        yield
    except SfmRosError:
        raise
    # torch and the dictionaries of the states raise errors of any kind.
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged, its state does not fit: {_one_line(error)}"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def check_same_run(path: Path, contents: dict[str, Any], config: TrainConfig) -> None:
    """Refuse to resume a checkpoint of another experiment, naming every difference."""
    saved, requested = flat_items(load_config(contents["config"])), flat_items(config)
    differences = [
        f"{key}: {saved[key]!r} in the checkpoint, {requested[key]!r} requested"
        for key in requested
        if key not in MAY_CHANGE and saved[key] != requested[key]
    ]
    if differences:
        raise CheckpointError(
            f"{path} was written with another configuration ({'; '.join(differences)}); resume "
            "with the same recipe, or choose another --out"
        )


def weights_of(contents: dict[str, Any]) -> dict[str, Any]:
    """The weights to validate and export: the moving average if there is one."""
    return contents["average"] if contents["average"] is not None else contents["model"]


def load_networks(path: Path, model: nn.Module, networks: Sequence[str]) -> dict[str, Any]:
    """Load the networks of another run into a model (their moving average if there is one).

    Args:
        path: the other run's checkpoint.
        model: with members ``depth_net`` and ``pose_net``.
        networks: which of ``depth`` and ``pose`` to take.

    Returns:
        The other run's configuration, as it was stored.

    Raises:
        CheckpointError: no checkpoint, or networks of another shape.
    """
    contents = load_checkpoint(path)
    weights = weights_of(contents)
    for network in networks:
        prefix = f"{network}_net."
        part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        try:
            getattr(model, f"{network}_net").load_state_dict(part)
        except RuntimeError as error:
            raise CheckpointError(
                f"the {network} network of {path} differs from this recipe's; use the recipe "
                f"it was trained with ({error})"
            ) from error
    return dict(contents["config"])


def _is_full(error: BaseException) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT)
    found = (getattr(e, "errno", None) for e in (error, error.__context__))
    return any(code in codes for code in found)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
