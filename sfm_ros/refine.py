"""Geometric refinement of the predicted motion: tracked corners and predicted depth.

The pose network is a good guess; the pictures themselves know better. Corners of the newest frame
are tracked into the one before it, lifted by the predicted depth, and the motion is corrected so
that they land where they were tracked to (perspective-n-point by robust Gauss-Newton). A corner's
residual is weighed by how uncertain it is: tracking noise in every direction, and along the
direction in which a wrong depth would shift it, that depth's uncertainty too. Far points so settle
the rotation, the epipolar lines of near ones the direction, and all depths together the length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.config import RefineConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Prediction, RgbImage
from sfm_ros.geometry import make_transform, project, rotation_angle, se3_exp, skew
from sfm_ros.window import Window

_ITERATIONS = 4
_CONVERGED = 1e-4
"""Radians and network units: a hundredth of a pixel and less."""
_ROBUST_SIGMAS = 2.0
"""Residuals beyond so many standard deviations lose weight (Cauchy)."""
_PRIOR_FLOOR = 0.02
"""Standard deviation of a prior translation of zero, network units."""
_BORDER = 4
_FAR_SIGMAS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tracks:
    """Corners of the newest frame and where they were in the one before it.

    Attributes:
        points: (N, 3) in the newest camera, network units.
        pixels_prev: (N, 2) where they were tracked to.
    """

    points: FloatArray
    pixels_prev: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refinement:
    """Result of a refinement.

    Attributes:
        T_prev_curr: (4, 4) corrected motion; the prediction where there was too little to go by.
        inliers: tracked corners that agree with it.
        tracked: tracked corners in all.
    """

    T_prev_curr: FloatArray
    inliers: int
    tracked: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TranslationPrior:
    """What is known of a translation before the pictures are looked at: a round Gaussian."""

    mean: FloatArray
    sigma: float

    def fused(self, other: TranslationPrior) -> TranslationPrior:
        """What both together know."""
        mine, its = self.sigma**-2, other.sigma**-2
        mean = (mine * self.mean + its * other.mean) / (mine + its)
        return TranslationPrior(mean=mean, sigma=(mine + its) ** -0.5)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Velocity:
    """The last translation that was refined, per second, and until when it held."""

    per_s: FloatArray
    stamp_ns: int


class MotionRefiner:
    """Corrects predicted motions, knowing that a camera has inertia."""

    def __init__(self, config: RefineConfig) -> None:
        self._config = config
        self._velocity: _Velocity | None = None

    def correct(self, prediction: Prediction, window: Window) -> Prediction:
        """The prediction with its newest increment refined."""
        before_ns, stamp_ns = window.stamps_ns[-2:]
        dt_s = (stamp_ns - before_ns) * 1e-9
        refined = self.refine(
            window.images[-2],
            window.images[-1],
            prediction.depth,
            window.intrinsics,
            prediction.T_prev_curr,
            self._inertia(before_ns, dt_s),
        )
        T_prev_curr = refined.T_prev_curr
        self._velocity = (
            _Velocity(per_s=T_prev_curr[:3, 3] / dt_s, stamp_ns=stamp_ns)
            if refined.inliers
            else None
        )
        increments = prediction.increments.copy()
        increments[-1] = T_prev_curr
        return replace(prediction, increments=increments)

    def refine(
        self,
        rgb_prev: RgbImage,
        rgb_curr: RgbImage,
        depth_curr: DepthMap,
        intrinsics: CameraIntrinsics,
        T_prev_curr: FloatArray,
        inertia: TranslationPrior | None = None,
    ) -> Refinement:
        """Correct a predicted motion.

        Args:
            rgb_prev, rgb_curr: (h, w, 3) uint8 of the two newest frames.
            depth_curr: (h, w) predicted depth of the newest, network units.
            intrinsics: camera of this grid.
            T_prev_curr: (4, 4) predicted motion, network units.
            inertia: what the motion before tells of this translation, or None.
        """
        prior = _prior_around(T_prev_curr[:3, 3], self._config.prior_share)
        if inertia is not None:
            prior = prior.fused(inertia)
        T_guess = make_transform(T_prev_curr[:3, :3], prior.mean)
        tracks = _track(rgb_prev, rgb_curr, depth_curr, intrinsics, T_guess, self._config)
        count = len(tracks.points)
        if count < self._config.min_inliers:
            return Refinement(T_prev_curr=T_prev_curr, inliers=0, tracked=count)
        T, distances = solve(tracks, intrinsics.K, T_guess, prior, self._config)
        inliers = int(np.count_nonzero(distances < _FAR_SIGMAS))
        if not self._is_believable(T, T_prev_curr, inliers, count):
            return Refinement(T_prev_curr=T_prev_curr, inliers=0, tracked=count)
        return Refinement(T_prev_curr=T, inliers=inliers, tracked=count)

    def _inertia(self, before_ns: int, dt_s: float) -> TranslationPrior | None:
        """The translation at the last velocity, where the frame before ended it."""
        last = self._velocity
        if last is None or last.stamp_ns != before_ns:
            return None
        return _prior_around(last.per_s * dt_s, self._config.velocity_share)

    def _is_believable(
        self, T: FloatArray, T_predicted: FloatArray, inliers: int, tracked: int
    ) -> bool:
        """Whether most corners agree and the correction is one, not another motion."""
        turned = np.degrees(rotation_angle(T_predicted[:3, :3].T @ T[:3, :3]))
        return bool(
            np.all(np.isfinite(T))
            and inliers >= max(self._config.min_inliers, tracked // 3)
            and turned <= self._config.max_correction_deg
        )


def _prior_around(translation: FloatArray, share: float) -> TranslationPrior:
    sigma = share * float(np.linalg.norm(translation)) + _PRIOR_FLOOR
    return TranslationPrior(mean=np.array(translation, dtype=np.float64), sigma=sigma)


def _track(
    rgb_prev: RgbImage,
    rgb_curr: RgbImage,
    depth_curr: DepthMap,
    intrinsics: CameraIntrinsics,
    T_prev_curr: FloatArray,
    config: RefineConfig,
) -> Tracks:
    grey_prev = cv2.cvtColor(rgb_prev, cv2.COLOR_RGB2GRAY)
    grey_curr = cv2.cvtColor(rgb_curr, cv2.COLOR_RGB2GRAY)
    # Half the size tells a corner as well, in a third of the time.
    half = cv2.resize(grey_curr, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    corners = cv2.goodFeaturesToTrack(
        half, config.max_corners, qualityLevel=0.01, minDistance=3, blockSize=3
    )
    if corners is None:
        return Tracks(points=np.zeros((0, 3)), pixels_prev=np.zeros((0, 2)))
    pixels = 2 * np.asarray(corners, dtype=np.float32).reshape(-1, 2) + 0.5
    points = _lift(pixels, depth_curr, intrinsics.K)
    guess = project(points @ T_prev_curr[:3, :3].T + T_prev_curr[:3, 3], intrinsics.K)
    known = np.isfinite(guess).all(axis=1) & _inside(guess, intrinsics)
    pixels, points, guess = pixels[known], points[known], guess[known]
    if len(pixels) == 0:
        return Tracks(points=np.zeros((0, 3)), pixels_prev=np.zeros((0, 2)))
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        grey_curr,
        grey_prev,
        pixels,
        guess.astype(np.float32),
        winSize=(9, 9),
        maxLevel=2,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    kept = (status.ravel() > 0) & _inside(found, intrinsics)
    return Tracks(points=points[kept], pixels_prev=found[kept].astype(np.float64))


def _lift(pixels: npt.NDArray, depth: DepthMap, K: FloatArray) -> FloatArray:
    """(N, 3) points of (N, 2) pixels; NaN where the depth is invalid."""
    columns, rows = np.rint(pixels).astype(int).T
    z = depth[rows, columns].astype(np.float64)
    z = np.where(np.isfinite(z) & (z > 0), z, np.nan)
    x = (pixels[:, 0] - K[0, 2]) / K[0, 0] * z
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1] * z
    return np.stack([x, y, z], axis=1)


def _inside(pixels: npt.NDArray, intrinsics: CameraIntrinsics) -> npt.NDArray[np.bool_]:
    size = np.array([intrinsics.width, intrinsics.height])
    return np.all((pixels >= _BORDER) & (pixels <= size - 1 - _BORDER), axis=1)


def solve(
    tracks: Tracks,
    K: FloatArray,
    T_guess: FloatArray,
    prior: TranslationPrior,
    config: RefineConfig,
) -> tuple[FloatArray, FloatArray]:
    """The motion that explains the tracks best, its translation near the prior.

    Minimises, over left perturbations of T_prev_curr, the sum of Cauchy(r^T S^-1 r) with
    S = sigma_px^2 I + sigma_depth^2 g g^T, g the derivative of the pixel by the logarithm of the
    depth, plus the prior's |t - mean|^2 / sigma^2.

    Returns:
        T_prev_curr (4, 4), and the (N,) Mahalanobis distances of the residuals before its last,
        small correction.
    """
    T = np.array(T_guess, dtype=np.float64)
    for _ in range(_ITERATIONS):
        errors = _linearise(tracks, K, T, config)
        H, b = _normal_equations(errors)
        # d(t + v + w x t) / d(v, w) = [I, -[t]x]
        prior_J = np.hstack([np.eye(3), -skew(T[:3, 3])])
        H += prior_J.T @ prior_J / prior.sigma**2
        b += prior_J.T @ (T[:3, 3] - prior.mean) / prior.sigma**2
        step = np.linalg.solve(H + 1e-9 * np.eye(6), b)
        T = se3_exp(-step) @ T
        if float(np.abs(step).max()) < _CONVERGED:
            break
    return T, errors.distances


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Errors:
    """The residuals of N tracks under a motion, and what they depend on.

    S^-1 = (I - share g g^T) / sigma_px^2 is never formed: every product with it is one with the
    residual and one with g.

    Attributes:
        u, v: (N,) residuals in pixels.
        J_u, J_v: (N, 6) their derivatives by a left perturbation (v, w), dX = v + w x X.
        g_u, g_v: (N,) derivatives of the pixel by the logarithm of the depth.
        share: (N,) weight of g g^T in S^-1.
        distances: (N,) Mahalanobis distances.
        variance: sigma_px^2.
    """

    u: FloatArray
    v: FloatArray
    J_u: FloatArray
    J_v: FloatArray
    g_u: FloatArray
    g_v: FloatArray
    share: FloatArray
    distances: FloatArray
    variance: float


def _linearise(tracks: Tracks, K: FloatArray, T: FloatArray, config: RefineConfig) -> _Errors:
    fx, fy = K[0, 0], K[1, 1]
    turned = tracks.points @ T[:3, :3].T
    x, y, z = (turned + T[:3, 3]).T
    z = np.maximum(z, 1e-3)
    x, y, inv_z = x / z, y / z, 1 / z
    u = fx * x + K[0, 2] - tracks.pixels_prev[:, 0]
    v = fy * y + K[1, 2] - tracks.pixels_prev[:, 1]
    zero = np.zeros_like(x)
    J_u = fx * np.stack([inv_z, zero, -x * inv_z, -x * y, 1 + x * x, -y], axis=1)
    J_v = fy * np.stack([zero, inv_z, -y * inv_z, -1 - y * y, x * y, x], axis=1)
    g_u = fx * inv_z * (turned[:, 0] - x * turned[:, 2])
    g_v = fy * inv_z * (turned[:, 1] - y * turned[:, 2])
    variance, depth_variance = config.sigma_px**2, config.sigma_depth**2
    share = depth_variance / (variance + depth_variance * (g_u * g_u + g_v * g_v))
    squares = (u * u + v * v - share * (g_u * u + g_v * v) ** 2) / variance
    return _Errors(
        u=u,
        v=v,
        J_u=J_u,
        J_v=J_v,
        g_u=g_u,
        g_v=g_v,
        share=share,
        distances=np.sqrt(np.maximum(squares, 0.0)),
        variance=variance,
    )


def _normal_equations(e: _Errors) -> tuple[FloatArray, FloatArray]:
    """J^T W J and J^T W r with the robust weights of the residuals, (6, 6) and (6,)."""
    robust = 1.0 / (1.0 + e.distances**2 / _ROBUST_SIGMAS**2) / e.variance
    along = e.g_u[:, None] * e.J_u + e.g_v[:, None] * e.J_v
    along_weight = robust * e.share
    H = (e.J_u.T * robust) @ e.J_u + (e.J_v.T * robust) @ e.J_v - (along.T * along_weight) @ along
    b = (
        e.J_u.T @ (robust * e.u)
        + e.J_v.T @ (robust * e.v)
        - along.T @ (along_weight * (e.g_u * e.u + e.g_v * e.v))
    )
    return H, b
