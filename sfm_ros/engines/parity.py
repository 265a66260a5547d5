"""The parity gate: an engine is used only if it agrees with a reference on stored frames.

A compiled engine may be wrong without any error: a fused layer, a lost scale, the plan of another
GPU. Both engines run the stored frames (`sfm_ros.engines.parity_frames`), and their depth and
motions are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sfm_ros.datatypes import FloatArray, Prediction
from sfm_ros.engines.base import Engine
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.errors import EngineError
from sfm_ros.geometry import inverse, so3_log
from sfm_ros.window import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityError:
    """How far two engines are apart, or how far they may be.

    Attributes:
        depth_median, depth_p95: relative difference of depth, median and 95th percentile over all
            pixels of all windows.
        translation: length of the difference of the translations over the longer of the two, the
            largest of all pairs of neighboring frames.
        rotation: angle between the rotations in radians, the largest likewise.
    """

    depth_median: float
    depth_p95: float
    translation: float
    rotation: float


LIMITS = {
    "fp32": ParityError(depth_median=1e-3, depth_p95=5e-3, translation=5e-3, rotation=1e-4),
    "fp16": ParityError(depth_median=5e-3, depth_p95=0.02, translation=0.02, rotation=5e-4),
    "bf16": ParityError(depth_median=0.02, depth_p95=0.06, translation=0.06, rotation=2e-3),
    "int8": ParityError(depth_median=0.05, depth_p95=0.15, translation=0.15, rotation=5e-3),
}
"""The limits by precision, above what a correct engine shows and below what costs accuracy.

Measured with ``road_small``, the default model before, on a CPU: FP32 of another library 4e-7,
2e-6, 2e-6 and 4e-8; BF16, with 8 significant bits, 0.5 %, 3 %, 0.9 % and 4e-4; FP16, with 11,
0.04 % and 0.2 % of depth. The TF32 products that GPUs take for FP32 have 11 bits as well; FP32's
limits admit them. INT8 moves depth by 3 %, 11 % at the 95th percentile; what that costs in
accuracy is measured at export and stands in the model card, here only a broken engine is to be
found. Frames move by 0.5 to 1 m, of which 1e-3 rad is 1 mm.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityResult:
    """The result of a comparison.

    Attributes:
        accepted: whether the candidate may be used.
        text: one line: what was compared, what was found, and what was allowed.
        error: the differences, or None if the candidate failed or its output is not finite.
    """

    accepted: bool
    text: str
    error: ParityError | None = None


def check_parity(
    candidate: Engine,
    reference: Engine,
    limits: ParityError,
    windows: Sequence[Window] | None = None,
) -> ParityResult:
    """Compare an engine with another one of the same bundle.

    Args:
        candidate: the engine that would be used.
        reference: the engine that is trusted.
        limits: the largest differences; `LIMITS` has them by precision.
        windows: of frames on the model's grid; by default the stored ones.

    Raises:
        EngineError: the reference failed.
        ModelError: the stored frames cannot be read.
    """
    pair = f"{candidate.name} against {reference.name}"
    windows = parity_windows(reference.spec) if windows is None else windows
    expected = [reference.infer(window) for window in windows]
    try:
        found = [candidate.infer(window) for window in windows]
    except EngineError as failure:
        return ParityResult(accepted=False, text=f"{pair}: it failed: {failure}")
    obstacle = _incomparable(found, expected)
    if obstacle:
        return ParityResult(accepted=False, text=f"{pair}: {obstacle}")
    error = measured_error(found, expected)
    measures = [f.name for f in fields(error)]
    exceeded = [name for name in measures if not getattr(error, name) <= getattr(limits, name)]
    shown = ", ".join(_shown(name, error, limits) for name in measures)
    result = f"refused, {_joined(exceeded)} too large" if exceeded else "accepted"
    text = f"{pair} on {len(windows)} windows: {result} ({shown})"
    return ParityResult(accepted=not exceeded, text=text, error=error)


def measured_error(found: Sequence[Prediction], expected: Sequence[Prediction]) -> ParityError:
    """The differences between predictions for the same windows; see `ParityError`."""
    depth = np.concatenate(
        [np.abs(f.depth / e.depth - 1.0).ravel() for f, e in zip(found, expected, strict=True)]
    )
    pairs = [
        (T, T_expected)
        for f, e in zip(found, expected, strict=True)
        for T, T_expected in zip(f.increments, e.increments, strict=True)
    ]
    median, p95 = np.percentile(depth, (50, 95))
    return ParityError(
        depth_median=float(median),
        depth_p95=float(p95),
        translation=max(_translation_error(*pair) for pair in pairs),
        rotation=max(_rotation_error(*pair) for pair in pairs),
    )


def _translation_error(T: FloatArray, T_expected: FloatArray) -> float:
    lengths = [np.linalg.norm(v[:3, 3]) for v in (T, T_expected)]
    difference = np.linalg.norm(T[:3, 3] - T_expected[:3, 3])
    return float(difference / max(*lengths, np.finfo(float).tiny))


def _rotation_error(T: FloatArray, T_expected: FloatArray) -> float:
    return float(np.linalg.norm(so3_log((inverse(T) @ T_expected)[:3, :3])))


def _incomparable(found: Sequence[Prediction], expected: Sequence[Prediction]) -> str | None:
    """Why predictions cannot be compared, or None."""
    for f, e in zip(found, expected, strict=True):
        for name, mine, theirs in (
            ("depth", f.depth, e.depth),
            ("motion", f.increments, e.increments),
        ):
            if mine.shape != theirs.shape:
                return f"its {name} has shape {mine.shape}, expected {theirs.shape}"
            if not np.all(np.isfinite(mine)):
                return f"its {name} is not finite"
    return None


def _shown(name: str, error: ParityError, limits: ParityError) -> str:
    words = name.replace("_", " ")
    unit = " rad" if name == "rotation" else ""
    return f"{words} {getattr(error, name):.2g}{unit}, limit {getattr(limits, name):.2g}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join(name.replace("_", " ") for name in names)
