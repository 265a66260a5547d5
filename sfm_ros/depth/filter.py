"""What is known of each pixel's inverse depth, over time.

A state is a normal distribution of the inverse depth, and the probability that a measurement of
it is no outlier (Vogiatzis & Hernandez, Image and Vision Computing 2011, section 3, as in REMODE,
Pizzoli et al., ICRA 2014). It is carried along by the motion, drawn slowly toward the network, and
corrected by each measurement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.depth import state_kernels
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.kernels import as_float32
from sfm_ros.depth.maps import GrayImage, Map, Mask, new_maps, select
from sfm_ros.depth.network_prior import Prior
from sfm_ros.depth.propagation import PixelRays, looks_alike, propagate

_NEW_INLIER, _LEAST_INLIER, _MOST_INLIER = 0.7, 0.05, 0.95
_LOST_INLIER = 0.3
"""Below it a state starts again from the measurement."""
_INLIER_MEMORY = 0.85
_OUTLIER_DENSITY = 1.0
"""Of the measurements that are outliers: uniform, per unit of inverse depth."""
_MEASURED_MEMORY = 0.97
_MEASURED = 0.1
"""Share of measurements in a state from which on it is not the network's alone."""
_PROCESS, _LEAST_STEP, _MOST_STEP = 0.03, 0.1, 2.0
"""Relative standard deviation that one unit of travel adds; and limits of the travel."""
_DOUBT = 0.15
"""Relative standard deviation that a doubtful motion adds."""
_FIRST_SIGMA = 0.4
"""Relative; what a first measurement may differ from the network by."""
_CORRELATION = 1.5
"""Errors of successive measurements are alike: their standard deviation counts this much more."""
_FLOOR = 0.02
"""Relative; no state is more certain."""
_TINY = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthState:
    """Maps (h, w) of one frame.

    Attributes:
        inv_depth: mean.
        variance: of the inverse depth.
        inlier: probability that a measurement is no outlier.
        measured: share of measurements in it, 1 after one, 0 where it is the network's.
        known: False where it is only a placeholder.
    """

    inv_depth: Map
    variance: Map
    inlier: Map
    measured: Map
    known: Mask

    def is_measured(self, most_sigma: float) -> Mask:
        """(h, w) where measurements count, and its relative sigma is below a limit."""
        certain = self.variance < (most_sigma * self.inv_depth) ** 2
        return self.known & certain & (self.measured > _MEASURED)


def nothing(guess: Map) -> DepthState:
    """No state, with a guess (h, w) as placeholder."""
    return DepthState(
        inv_depth=guess,
        variance=np.zeros_like(guess),
        inlier=np.full_like(guess, _NEW_INLIER),
        measured=np.zeros_like(guess),
        known=np.zeros(guess.shape, dtype=bool),
    )


def predict(
    state: DepthState,
    rays: PixelRays,
    guess: Map,
    T_prev_curr: FloatArray,
    gray: GrayImage,
    gray_before: GrayImage,
) -> DepthState:
    """The state of the older frame in the newer one.

    Known where the older frame saw the same surface, and the images look alike there.

    Args:
        state: of the older frame.
        rays: of the grid.
        guess: (h, w) inverse depth in the newer frame.
        T_prev_curr: (4, 4) motion.
        gray, gray_before: (h, w) the two images.
    """
    moved = propagate(rays, guess, state.inv_depth, T_prev_curr)
    known = moved.seen & looks_alike(gray, gray_before, moved.u, moved.v)
    travel = float(np.clip(np.linalg.norm(T_prev_curr[:3, 3]), _LEAST_STEP, _MOST_STEP))
    carried = new_maps(4, guess.shape)
    state_kernels.carry(
        (state.variance, state.inlier, state.measured),
        (moved.inv_depth, moved.ratio, moved.u, moved.v),
        known,
        guess,
        np.float32((_PROCESS * travel) ** 2),
        np.float32(_NEW_INLIER),
        np.float32(_MEASURED_MEMORY),
        carried,
    )
    inv_depth, variance, inlier, measured = carried
    return DepthState(
        inv_depth=inv_depth, variance=variance, inlier=inlier, measured=measured, known=known
    )


def doubted(state: DepthState) -> DepthState:
    """The state after a motion that may be wrong."""
    return replace(state, variance=state.variance + (_DOUBT * state.inv_depth) ** 2)


def draw_toward(state: DepthState, prior: Prior, gain: Map) -> DepthState:
    """Draw a state toward a prior, whose error is the same in all frames.

    A Kalman gain, lowered by ``gain`` (h, w); the two standard deviations are averaged instead of
    combined, since the errors do not average out. What is not known becomes the prior.
    """
    inv_depth, variance = new_maps(2, state.inv_depth.shape)
    state_kernels.draw(
        state.inv_depth, state.variance, state.known, prior.inv_depth, prior.relative_sigma, gain,
        np.float32(_TINY**2), inv_depth, variance,
    )  # fmt: skip
    return replace(state, inv_depth=inv_depth, variance=variance, known=np.ones_like(state.known))


def correct(state: DepthState, measured: InverseDepth, refused: Mask) -> DepthState:
    """Correct a state by a measurement.

    With the normal distribution of the measurement about the state and a uniform one of outliers
    (equation 7 of Vogiatzis & Hernandez), the posterior is matched by its first two moments: its
    mean is that of a Kalman filter with the gain times the probability r of an inlier (their
    equations 17 to 22). The probability itself is a running mean of r.

    Args:
        state: of the frame.
        measured: of the same frame.
        refused: (h, w) measurements that count as outliers, whatever they are.
    """
    valid, found = measured.valid & ~refused, (measured.inv_depth, measured.sigma)
    before, density, r, inlier, inv_depth, variance = new_maps(6, state.inv_depth.shape)
    state_kernels.innovate(
        (state.inv_depth, state.variance, state.measured), found, valid,
        as_float32((_MEASURED, _FIRST_SIGMA, _CORRELATION, _TINY**2)), before, density,
    )  # fmt: skip
    np.exp(density, out=density)
    state_kernels.find_inliers(
        before, state.inlier, density, measured.sigma, valid,
        as_float32((_CORRELATION, _TINY**2, _OUTLIER_DENSITY)), r,
    )  # fmt: skip
    state_kernels.update_inlier(
        state.inlier, r, measured.valid,
        as_float32((_INLIER_MEMORY, _LEAST_INLIER, _MOST_INLIER)), inlier,
    )  # fmt: skip
    again = valid & (inlier < _LOST_INLIER)
    state_kernels.correct(
        (state.inv_depth, before), found, r, again,
        as_float32((_CORRELATION, _TINY**2, _FLOOR)), inv_depth, variance,
    )  # fmt: skip
    return DepthState(
        inv_depth=inv_depth,
        variance=variance,
        inlier=select(again, np.full_like(inlier, _NEW_INLIER), inlier),
        measured=np.maximum(state.measured, r),
        known=state.known,
    )
