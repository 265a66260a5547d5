"""Relative pose of two views of tracked keypoints: rotation and direction of the translation.

Gauss-Newton over five degrees of freedom on the Sampson error (Hartley and Zisserman, Multiple
View Geometry, eq. 11.9) with a robust kernel that narrows: Cauchy annealed, then Geman-McClure.
It starts at several motions, and the lowest cost wins. A camera that only turns, or stands, has
no direction of translation; this is decided by the keypoints that move as if at infinity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import rotation_angle, skew, so3_exp

_CAUCHY_PX = tuple(4.0 * (0.5 / 4.0) ** (i / 6) for i in range(7))
_GEMAN_MCCLURE_PX = (0.2,) * 4
_SCHEDULE = [(px, 1) for px in _CAUCHY_PX] + [(px, 2) for px in _GEMAN_MCCLURE_PX]
"""Scale of the kernel and its power, iteration by iteration."""
_COST_PX = 0.3
_INLIER_PX = 0.7
_GOOD_COST = 0.2
_LARGEST_STEP = 0.2
_SAME_WAY = 1e-5
"""Difference of two rotations or directions that later iterations only make smaller."""
_MAX_TURN_RAD = np.radians(25.0)
"""Between two frames; the twisted pair of an essential matrix turns by far more."""
_STILL_PX = 0.3
_STILL_FRACTION = 0.5
_STILL_BESIDE_MOVERS = 0.3
_SIDEWAYS = 0.7
"""Part of the direction ahead, below which still tracks speak for a mover that passes."""
_PURE_TURN_PX = 0.35
_PURE_TURN_FRACTION = 0.65
_TURN_ERROR = 0.01
"""Of the flow by a rotation, by which it bends the window around a keypoint."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TwoView:
    """A relative pose without length: X_prev = R X_curr + s * direction, s > 0 unknown.

    Attributes:
        R: (3, 3) rotation R_prev_curr.
        direction: (3,) unit vector of the translation, or zero if the camera does not translate.
        inliers: (N,) which tracks agree.
        depth: (N,) depth in the newer camera in lengths of the translation; NaN if unknown.
        parallax: (N,) pixels by which a track deviates from one at infinity.
        covariance: (5, 5) of the rotation vector and the direction within ``tangent``.
        tangent: (3, 2) basis of the directions' plane; zero without translation.
        cost: mean robust cost, 0 to 1.
        is_still: whether the camera stands.
    """

    R: FloatArray
    direction: FloatArray
    inliers: npt.NDArray[np.bool_]
    depth: FloatArray
    parallax: FloatArray
    covariance: FloatArray
    tangent: FloatArray
    cost: float
    is_still: bool = False

    @property
    def translates(self) -> bool:
        """Whether there is a direction of translation."""
        return bool(np.any(self.direction))


Start = tuple[FloatArray, FloatArray]
"""A rotation (3, 3) and a direction (3,) to start from."""


def estimate_two_view(
    prev: FloatArray, curr: FloatArray, focal_px: float, starts: Iterable[Start]
) -> TwoView:
    """The motion that the most tracks agree with.

    Args:
        prev, curr: (N, 3) rays at depth 1 of the older and the newer frame, N >= 8.
        focal_px: pixels per unit of a ray.
        starts: motions to start from, in the order in which they are preferred.
    """
    flow_px = focal_px * np.linalg.norm(prev - curr, axis=1)
    still = float(np.mean(flow_px < _STILL_PX))
    if still >= _STILL_FRACTION:
        return without_translation(np.eye(3), prev, curr, focal_px, is_still=True)
    R_far = fit_rotation(prev, curr, focal_px)
    far_px = focal_px * np.linalg.norm(_turned(R_far, curr) - prev, axis=1)
    turn_px = focal_px * rotation_angle(R_far)
    if np.mean(far_px < _PURE_TURN_PX + _TURN_ERROR * turn_px) >= _PURE_TURN_FRACTION:
        return without_translation(R_far, prev, curr, focal_px)
    best = _best_motion(prev, curr, focal_px, [*starts, (R_far, _AHEAD)])
    if still >= _STILL_BESIDE_MOVERS and abs(best.direction[2]) < _SIDEWAYS:
        # A vehicle that passes a standing camera looks like a near wall that it passes sideways.
        return without_translation(np.eye(3), prev, curr, focal_px, is_still=True)
    return best


def _best_motion(
    prev: FloatArray, curr: FloatArray, focal_px: float, starts: Sequence[Start]
) -> TwoView:
    """The fit of lowest cost, from the starts or from random samples."""
    best, ways = None, Ways()
    for R, t in chain(starts, _sampled(prev, curr, focal_px)):
        found = fit_motion(R, t, prev, curr, focal_px, ways)
        if found is not None and (best is None or found.cost < best.cost):
            best = found
        if best is not None and best.cost < _GOOD_COST:
            break  # nearly all tracks agree: no other start does better
    assert best is not None  # there is at least one start
    return best


class Ways:
    """Where fits of the same tracks have come from different starts, iteration by iteration."""

    def __init__(self) -> None:
        self._places: list[list[Start]] = [[] for _ in _SCHEDULE]

    def joins(self, iteration: int, R: FloatArray, t: FloatArray) -> bool:
        """Whether a fit is where an earlier one was, and so ends as that did; else noted."""
        places = self._places[iteration]
        for other_R, other_t in places:
            if np.abs(R - other_R).max() < _SAME_WAY and np.abs(t - other_t).max() < _SAME_WAY:
                return True
        places.append((R, t))
        return False


_AHEAD = np.array([0.0, 0.0, 1.0])


def fit_rotation(prev: FloatArray, curr: FloatArray, focal_px: float) -> FloatArray:
    """(3, 3) rotation that brings most rays of the newer frame onto those of the older."""
    R = np.eye(3)
    for scale_px in (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.3, 0.3):
        turned = curr @ R.T
        x, y = turned[:, 0] / turned[:, 2], turned[:, 1] / turned[:, 2]
        r = np.stack([x - prev[:, 0], y - prev[:, 1]])
        w = 1 / (1 + (focal_px / scale_px) ** 2 * (r * r).sum(axis=0))
        J = np.empty((2, len(x), 3))
        J[0] = np.stack([-x * y, 1 + x * x, -y], axis=1)
        J[1] = np.stack([-1 - y * y, x * y, x], axis=1)
        H = np.einsum("knj,n,knl->jl", J, w, J) + 1e-9 * np.eye(3)
        step = np.linalg.solve(H, np.einsum("knj,n,kn->j", J, w, r))
        R = so3_exp(-step) @ R
    return R


def fit_motion(
    R: FloatArray,
    t: FloatArray,
    prev: FloatArray,
    curr: FloatArray,
    focal_px: float,
    ways: Ways,
) -> TwoView | None:
    """Gauss-Newton from a start; None once it goes the way of an earlier fit."""
    tangent = _tangent(t)
    for iteration, (scale_px, power) in enumerate(_SCHEDULE):
        r, J = _linearize(R, t, tangent, prev, curr, focal_px)
        w = (1 + (r / scale_px) ** 2) ** -power
        weighted = J * w[:, None]
        step = -np.linalg.solve(weighted.T @ J + 1e-3 * np.eye(5), weighted.T @ r)
        step *= min(1.0, _LARGEST_STEP / max(float(np.abs(step).max()), 1e-12))
        R = so3_exp(step[:3]) @ R
        t = t + tangent @ step[3:]
        t = t / np.linalg.norm(t)
        if ways.joins(iteration, R, t):
            return None
        tangent = _tangent(t)
    return _two_view(R, t, prev, curr, focal_px)


def _two_view(
    R: FloatArray, t: FloatArray, prev: FloatArray, curr: FloatArray, focal_px: float
) -> TwoView:
    tangent = _tangent(t)
    r, J = _linearize(R, t, tangent, prev, curr, focal_px)
    squares = (r / _COST_PX) ** 2
    inliers = np.abs(r) < _INLIER_PX
    depth, parallax = triangulate(R, t, prev, curr, focal_px)
    clear = inliers & (parallax > 1.0)
    if clear.sum() > 10 and np.mean(depth[clear] > 0) < 0.5:
        t, depth, tangent = -t, -depth, -tangent
    cost = float(np.mean(squares / (1 + squares)))
    if rotation_angle(R) > _MAX_TURN_RAD:
        cost = 1.0
    return TwoView(
        R=R,
        direction=t,
        inliers=inliers & ((depth > 0) | (parallax < 1.0)),
        depth=depth,
        parallax=parallax,
        covariance=_covariance(r, J, inliers),
        tangent=tangent,
        cost=cost,
    )


def without_translation(
    R: FloatArray, prev: FloatArray, curr: FloatArray, focal_px: float, is_still: bool = False
) -> TwoView:
    """A motion that only turns, or none at all; see `TwoView`."""
    distances = focal_px * np.linalg.norm(_turned(R, curr) - prev, axis=1)
    count, unknown = len(prev), np.full(len(prev), np.nan)
    covariance = np.zeros((5, 5))
    if not is_still:
        covariance[:3, :3] = np.eye(3) * (_PURE_TURN_PX / focal_px) ** 2 / max(count, 1)
    squares = (distances / _COST_PX) ** 2
    return TwoView(
        R=R,
        direction=np.zeros(3),
        inliers=distances < _INLIER_PX,
        depth=unknown,
        parallax=distances,
        covariance=covariance,
        tangent=np.zeros((3, 2)),
        cost=float(np.mean(squares / (1 + squares))),
        is_still=is_still,
    )


def triangulate(
    R: FloatArray, t: FloatArray, prev: FloatArray, curr: FloatArray, focal_px: float
) -> tuple[FloatArray, FloatArray]:
    """(N,) depth in the newer camera, in lengths of t, and (N,) parallax in pixels."""
    y = curr @ R.T
    across = _cross(y, prev)
    # depth * (y x prev) = -(t x prev), solved by least squares.
    baseline = prev @ skew(t).T
    depth = -(across * baseline).sum(axis=1) / ((across * across).sum(axis=1) + 1e-15)
    parallax = focal_px * np.linalg.norm(y[:, :2] / y[:, 2:] - prev[:, :2], axis=1)
    return depth, parallax


def _linearize(
    R: FloatArray,
    t: FloatArray,
    tangent: FloatArray,
    prev: FloatArray,
    curr: FloatArray,
    focal_px: float,
) -> tuple[FloatArray, FloatArray]:
    """(N,) Sampson errors in pixels and (N, 5) their derivatives by exp(w) R and t + tangent a.

    The derivative of the denominator is left out: it is of second order at the solution.
    """
    y = curr @ R.T
    E = skew(t) @ R
    lines = np.concatenate([curr @ E[:2].T, prev @ E[:, :2]], axis=1)
    factor = focal_px / np.sqrt(np.einsum("ni,ni->n", lines, lines) + 1e-18)
    along, product = y @ t, np.einsum("ni,ni->n", prev, y)
    across = _cross(y, prev)  # prev . E curr = prev . (t x y) = t . (y x prev)
    J = np.empty((len(y), 5))
    J[:, :3] = prev * (factor * along)[:, None] - (factor * product)[:, None] * t
    J[:, 3:] = (across @ tangent) * factor[:, None]
    return factor * (across @ t), J


def _covariance(r: FloatArray, J: FloatArray, inliers: npt.NDArray[np.bool_]) -> FloatArray:
    """(5, 5) from the Hessian and the spread of the inliers."""
    if inliers.sum() < 10:
        return np.eye(5)
    sigma_px = max(1.4826 * float(np.median(np.abs(r[inliers]))), 0.05)
    J = J[inliers]
    return np.asarray(sigma_px**2 * np.linalg.inv(J.T @ J + 1e-6 * np.eye(5)))


def _sampled(prev: FloatArray, curr: FloatArray, focal_px: float) -> Iterator[Start]:
    """A start from random samples, by MAGSAC (Barath et al., CVPR 2019), if there is one."""
    E, _ = cv2.findEssentialMat(
        curr[:, :2], prev[:, :2], np.eye(3), cv2.USAC_MAGSAC, 0.999, 1.0 / focal_px
    )
    if E is None or E.shape != (3, 3):
        return
    *rotations, translation = cv2.decomposeEssentialMat(E)
    R = min((np.asarray(R, dtype=np.float64) for R in rotations), key=rotation_angle)
    t = np.asarray(translation, dtype=np.float64).ravel()
    if rotation_angle(R) <= _MAX_TURN_RAD:
        depth, _ = triangulate(R, t, prev, curr, focal_px)  # which would be negative along -t
        yield R, t if np.mean(depth > 0) > 0.5 else -t


def _tangent(t: FloatArray) -> FloatArray:
    """(3, 2) orthonormal basis of the plane across a unit vector."""
    across = skew(t)
    u = across[:, int(np.argmin(np.abs(t)))]  # t x the axis that is farthest from it
    u = u / np.linalg.norm(u)
    return np.stack([u, across @ u], axis=1)


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N, 3) products of rows; ``np.cross`` takes several times as long on a few hundred."""
    return a[:, _NEXT] * b[:, _AFTER] - a[:, _AFTER] * b[:, _NEXT]


_NEXT, _AFTER = [1, 2, 0], [2, 0, 1]


def _turned(R: FloatArray, rays: FloatArray) -> FloatArray:
    """(N, 3) rays after a rotation, at depth 1."""
    turned = rays @ R.T
    return turned / turned[:, 2:]
