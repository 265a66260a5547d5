"""Distortion models under the names that drivers and calibration programs give them.

The models are those that OpenCV evaluates: Brown's with its rational and thin-prism extensions
(Brown 1971), and Kannala and Brandt's equidistant projection (2006).
"""

from __future__ import annotations

import re

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import CalibrationError, printable

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
MODELS = (PLUMB_BOB, RATIONAL, EQUIDISTANT)

_NAMES = {
    PLUMB_BOB: (
        "plumbbob radtan radialtangential pinholeradtan pinholeradialtangential brownconrady "
        "brown opencv standard"
    ),
    RATIONAL: "rationalpolynomial rational thinprism tilted",
    EQUIDISTANT: (
        "equidistant equi fisheye pinholeequi pinholeequidistant kannalabrandt kannalabrandt4 "
        "kannalabrandt8 opencvfisheye"
    ),
}
_CANONICAL = {name: model for model, names in _NAMES.items() for name in names.split()}
_NONE = frozenset("none nodistortion perfect ideal undistorted rectified pinhole".split())
_PROJECTIONS = frozenset(
    "fov atan omni omnidirectional mei scaramuzza ocam ocamcalib ds doublesphere eucm ucm unified "
    "division polynomialfisheye fisheyepolynomial thinprismfisheye ftheta".split()
)
"""Their coefficients are zero for no ordinary lens: zeros do not mean that there is none."""
_COUNTS = {PLUMB_BOB: (4, 5), RATIONAL: (4, 5, 8, 12, 14), EQUIDISTANT: (4,)}
_MAX_COEFFICIENT = 1e4
"""Those of a rational model reach some hundreds."""


def canonical_model(name: str) -> str | None:
    """The model of `MODELS` that is meant by a name; None if it is none of them."""
    return _CANONICAL.get(_plain(name))


def is_known(name: str) -> bool:
    """Whether a name is that of a model, or states that there is no distortion."""
    plain = _plain(name)
    return not plain or plain in _CANONICAL or plain in _NONE


def parse_distortion(name: str, D: FloatArray, origin: str) -> tuple[str, tuple[float, ...]]:
    """The model of `MODELS` and its coefficients in OpenCV's order; none means no distortion.

    Coefficients beyond a model's own are accepted if they are zero, and Brown's model with the
    further ones of the rational model is that model. An equidistant lens stays one even if its
    coefficients are all zero: its projection is not a pinhole camera's.

    Args:
        name: of the model, as the driver or file gives it; empty means ``plumb_bob``.
        D: coefficients, finite.
        origin: topic or file, for error messages.

    Raises:
        CalibrationError: another model, a wrong count, or coefficients that no lens has.
    """
    model = canonical_model(name)
    if model is None:
        model = _model_without_name(name, D, origin)
    if model != EQUIDISTANT and not np.any(D):
        return PLUMB_BOB, ()
    if D.size == 0:
        return model, ()
    model, used = _counted(model, D, name, origin)
    largest = float(np.abs(used).max())
    if largest > _MAX_COEFFICIENT:
        raise CalibrationError(
            f"{origin}: a distortion coefficient is {largest:g}, expected at most "
            f"{_MAX_COEFFICIENT:g}; calibrate it again"
        )
    return model, tuple(used.tolist())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _model_without_name(name: str, D: FloatArray, origin: str) -> str:
    """The model of an empty name, or of one that is harmless without coefficients."""
    plain = _plain(name)
    if not plain or (plain not in _PROJECTIONS and not np.any(D)):
        return PLUMB_BOB
    if plain in _NONE:
        raise CalibrationError(
            f"{origin}: the distortion model is '{printable(name, 50)}', but there are "
            f"coefficients {D.tolist()}; expected zeros, or one of {', '.join(MODELS)}"
        )
    raise CalibrationError(
        f"{origin}: the distortion model is '{printable(name, 50)}', expected one of "
        f"{', '.join(MODELS)}; calibrate with one of these, or rectify the images before"
    )


def _counted(model: str, D: FloatArray, name: str, origin: str) -> tuple[str, FloatArray]:
    """The coefficients that the model has; longer lists of Brown's model are its extensions."""
    significant = int(np.flatnonzero(D).max(initial=-1)) + 1
    candidates = (model, RATIONAL) if model == PLUMB_BOB else (model,)
    for candidate in candidates:
        counts = _COUNTS[candidate]
        if D.size in counts:
            return candidate, D
        fitting = [count for count in counts if significant <= count < D.size]
        if fitting:
            return candidate, D[: fitting[-1] if candidate == model else fitting[0]]
    raise CalibrationError(
        f"{origin}: {D.size} distortion coefficients, but the model "
        f"'{printable(name, 50) or model}' has {' or '.join(map(str, _COUNTS[model]))}"
    )
