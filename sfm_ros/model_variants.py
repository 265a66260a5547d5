"""The networks of a bundle in other precisions, and the values of model.yaml that describe them.

``model.yaml`` lists them under ``variants``:

* ``fp16``: FP16 inside the graph, uint8 and FP32 at its ends; for GPUs;
* ``int8``: quantized as TensorRT reads it, symmetric; for GPUs;
* ``int8_cpu``: quantized for CPUs;
* ``bf16``: the FP32 graphs, whose precision is an option of the engine; it is listed for its
  metrics.

The metrics of a variant are its measured differences from FP32, ``METRICS``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from sfm_ros.errors import ModelError

VARIANTS = ("bf16", "fp16", "int8", "int8_cpu")
FP32_GRAPHS = ("fp32", "bf16")
"""Precisions that every bundle has, because they need no graphs of their own."""

METRICS = {
    "abs_rel_change": "relative change of abs_rel on rendered streets; 0.01: a hundredth worse",
    "t_err_change": "relative change of t_err, the largest over the sequences that were measured",
    "depth_difference_median": "median over all pixels of |depth - FP32's| / FP32's",
    "depth_difference_p95": "its 95th percentile",
}

_EXPECTED = {
    "str": "text",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
    "dict": "numbers by their names",
}


@dataclass(frozen=True, kw_only=True)
class GraphVariant:
    """A pair of graphs that compute in one precision.

    Attributes:
        depth_file, pose_file: the two graphs, files of the bundle.
        depth_sha256, pose_sha256: their hashes.
        metrics: measured differences from FP32, see ``METRICS``.
    """

    depth_file: str
    pose_file: str
    depth_sha256: str = ""
    pose_sha256: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float | None:
        """The larger of the relative losses in abs_rel and t_err; None if either is unknown."""
        losses = [self.metrics.get(name, math.nan) for name in ("abs_rel_change", "t_err_change")]
        return max(losses) if all(map(math.isfinite, losses)) else None


def variants_from(values: Any, path: Path) -> dict[str, GraphVariant]:
    """Read the value of ``variants``.

    Args:
        path: the file that it stands in, for messages.

    Raises:
        ModelError: it is not as described above.
    """
    if not isinstance(values, dict):
        raise ModelError(f"{path}: 'variants' is {short(values)}, expected precisions and graphs")
    unknown = [short(name) for name in values if name not in VARIANTS]
    if unknown:
        raise ModelError(
            f"{path}: unknown variants {', '.join(unknown)}, expected some of "
            f"{', '.join(VARIANTS)}; this program may be older than the model"
        )
    return {name: _variant(name, value, path) for name, value in values.items()}


def _variant(name: str, value: Any, path: Path) -> GraphVariant:
    where = f"{path}: variants.{name}"
    if not isinstance(value, dict):
        raise ModelError(f"{where} is {short(value)}, expected keys and values")
    return GraphVariant(**checked_fields(GraphVariant, value, where))


def checked_fields(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a dataclass from a document, of the right types.

    Args:
        where: begins the messages.

    Raises:
        ModelError: a key is unknown or missing, or a value is of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(map(str, set(values) - set(fields)))
    missing = sorted({n for n, f in fields.items() if _has_no_default(f)} - set(values))
    if unknown or missing:
        raise ModelError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    kinds = get_type_hints(kind)
    return {key: _typed(key, value, kinds[key], where) for key, value in values.items()}


def _typed(name: str, value: Any, kind: Any, where: str) -> Any:
    """The value of a field, if it is of its type; a whole number may stand for a float."""
    if kind is float and type(value) is int:
        value = float(value)
    if isinstance(value, dict):
        fits = kind == dict[str, float] and all(
            isinstance(key, str) and isinstance(number, (int, float))
            for key, number in value.items()
        )
    else:
        fits = type(value) is kind and (kind is not float or math.isfinite(value))
    if not fits:
        expected = _EXPECTED[kind.__name__]
        raise ModelError(f"{where}: '{name}' is {short(value)}, expected {expected}")
    return value


def short(value: Any) -> str:
    """A value of a document in a message."""
    return f"{value!r:.80}"


def _has_no_default(f: dataclasses.Field) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
