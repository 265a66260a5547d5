"""Geometric refinement of the predicted motion: tracked keypoints and predicted depth.

Keypoints of the newest frame are tracked into the one before it, lifted by the predicted depth,
and the predicted motion is corrected so that they project to where they were tracked
(perspective-n-point by robust Gauss-Newton). A residual is weighted by its uncertainty: tracking
noise in every direction, and the uncertainty of the depth along the direction in which a wrong
depth would shift it. Far points thus determine the rotation, the epipolar lines of near ones the
direction of the translation, and all depths together its length.
"""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.config import RefineConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Prediction, RgbImage
from sfm_ros.geometry import make_transform, project, rotation_angle, so3_exp
from sfm_ros.motion_prior import ConstantVelocityModel, TranslationPrior
from sfm_ros.window import Window

_ITERATIONS = 4
_CONVERGED_RAD = 5e-4
"""A tenth of a pixel; the error after a step this small is far less."""
_CONVERGED_RATIO = 5e-3
"""Of the length of the translation."""
_ROBUST_SIGMAS = 2.0
"""Residuals beyond this many standard deviations lose weight (Cauchy)."""
_SMALLEST_LENGTH = 0.02
"""Network units, added to the length of the translation that a step is compared with."""
_BORDER = 4
_FAR_SIGMAS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tracks:
    """Keypoints of the newest frame and their positions in the one before it.

    Attributes:
        points: (N, 3) in the newest camera, network units.
        pixels_prev: (N, 2) tracked positions.
    """

    points: FloatArray
    pixels_prev: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refinement:
    """Result of a refinement.

    Attributes:
        T_prev_curr: (4, 4) corrected motion; the prediction if too few keypoints agree.
        inliers: tracked keypoints that agree with it.
        tracked: all tracked keypoints.
        covariance: (3, 3) of the translation, or None if the prediction was kept.
    """

    T_prev_curr: FloatArray
    inliers: int
    tracked: int
    covariance: FloatArray | None = None


class MotionRefiner:
    """Corrects predicted motions by tracked keypoints, with a constant-velocity prior.

    ``find_keypoints`` needs no prediction and runs in a thread beside the networks; ``correct``
    uses its result.
    """

    def __init__(self, config: RefineConfig) -> None:
        self._config = config
        self._motion_model = ConstantVelocityModel()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sfm_keypoints")
        self._pending: tuple[Window, Future[_Views]] | None = None

    def configure(self, config: RefineConfig) -> None:
        """Apply other options from the next frame on."""
        self._config = config

    def find_keypoints(self, window: Window) -> None:
        """Start to detect the keypoints of a window's newest frame."""
        if self._config.enabled:
            prev, curr = window.images[-2:]
            views = self._executor.submit(_detect, prev, curr, self._config.max_features)
            self._pending = window, views

    def correct(self, prediction: Prediction, window: Window) -> Prediction:
        """The prediction with its newest increment refined."""
        if not self._config.enabled:
            self._motion_model.forget()
            return prediction
        if self._pending is None or self._pending[0] is not window:
            self.find_keypoints(window)
        assert self._pending is not None
        views = self._pending[1].result()
        prev_ns, curr_ns = window.stamps_ns[-2:]
        dt_s = (curr_ns - prev_ns) * 1e-9
        refined = self._refine(
            views,
            prediction.depth,
            window.intrinsics,
            prediction.T_prev_curr,
            self._motion_model.predict(prev_ns, dt_s, self._config.velocity_sigma_ratio),
        )
        T_prev_curr = refined.T_prev_curr
        if refined.covariance is None:
            self._motion_model.forget()
        else:
            self._motion_model.update(T_prev_curr[:3, 3], refined.covariance, dt_s, curr_ns)
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
        velocity_prior: TranslationPrior | None = None,
    ) -> Refinement:
        """Correct a predicted motion.

        Args:
            rgb_prev, rgb_curr: (h, w, 3) uint8 of two frames.
            depth_curr: (h, w) predicted depth of the newer, network units.
            intrinsics: camera of this grid.
            T_prev_curr: (4, 4) predicted motion, network units.
            velocity_prior: what the last motion predicts for this translation, or None.
        """
        views = _detect(rgb_prev, rgb_curr, self._config.max_features)
        return self._refine(views, depth_curr, intrinsics, T_prev_curr, velocity_prior)

    def _refine(
        self,
        views: _Views,
        depth_curr: DepthMap,
        intrinsics: CameraIntrinsics,
        T_prev_curr: FloatArray,
        velocity_prior: TranslationPrior | None,
    ) -> Refinement:
        prior = TranslationPrior.around(T_prev_curr[:3, 3], self._config.prior_sigma_ratio)
        if velocity_prior is not None:
            prior = prior.fused(velocity_prior)
        T_guess = make_transform(T_prev_curr[:3, :3], prior.mean)
        tracks = _track(views, depth_curr, intrinsics, T_guess)
        count = len(tracks.points)
        if count < self._config.min_inliers:
            return Refinement(T_prev_curr=T_prev_curr, inliers=0, tracked=count)
        T, distances, covariance = solve(tracks, intrinsics.K, T_guess, prior, self._config)
        inliers = int(np.count_nonzero(distances < _FAR_SIGMAS))
        if not self._is_plausible(T, T_prev_curr, inliers, count):
            return Refinement(T_prev_curr=T_prev_curr, inliers=0, tracked=count)
        return Refinement(T_prev_curr=T, inliers=inliers, tracked=count, covariance=covariance)

    def _is_plausible(
        self, T: FloatArray, T_predicted: FloatArray, inliers: int, tracked: int
    ) -> bool:
        """Whether most keypoints agree and the correction is small."""
        turned = np.degrees(rotation_angle(T_predicted[:3, :3].T @ T[:3, :3]))
        return bool(
            np.all(np.isfinite(T))
            and inliers >= max(self._config.min_inliers, tracked // 3)
            and turned <= self._config.max_correction_deg
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Views:
    """Two gray images (h, w) and the (N, 2) keypoints of the newer one."""

    prev: npt.NDArray
    curr: npt.NDArray
    keypoints: npt.NDArray[np.float32]


def _detect(rgb_prev: RgbImage, rgb_curr: RgbImage, max_features: int) -> _Views:
    prev = cv2.cvtColor(rgb_prev, cv2.COLOR_RGB2GRAY)
    curr = cv2.cvtColor(rgb_curr, cv2.COLOR_RGB2GRAY)
    # Half the size detects a corner as well, in a third of the time.
    half = cv2.resize(curr, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = cv2.goodFeaturesToTrack(
        half, max_features, qualityLevel=0.01, minDistance=3, blockSize=3
    )
    keypoints = np.zeros((0, 2)) if found is None else 2 * np.asarray(found).reshape(-1, 2) + 0.5
    return _Views(prev=prev, curr=curr, keypoints=keypoints.astype(np.float32))


def _track(
    views: _Views, depth_curr: DepthMap, intrinsics: CameraIntrinsics, T_prev_curr: FloatArray
) -> Tracks:
    points = _lift(views.keypoints, depth_curr, intrinsics.K)
    guess = project(points @ T_prev_curr[:3, :3].T + T_prev_curr[:3, 3], intrinsics.K)
    known = np.isfinite(guess).all(axis=1) & _inside(guess, intrinsics)
    keypoints, points, guess = views.keypoints[known], points[known], guess[known]
    if len(keypoints) == 0:
        return Tracks(points=points, pixels_prev=guess)
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        views.curr,
        views.prev,
        keypoints,
        guess.astype(np.float32),
        winSize=(9, 9),
        maxLevel=2,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    kept = (status.ravel() > 0) & _inside(found, intrinsics)
    return Tracks(points=points[kept], pixels_prev=found[kept].astype(np.float64))


def _lift(pixels: npt.NDArray, depth: DepthMap, K: FloatArray) -> FloatArray:
    """(N, 3) points of (N, 2) pixels; NaN if the depth is invalid."""
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
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The motion that fits the tracks best, its translation near the prior.

    Minimizes, over t + v and exp(w) R, the sum of Cauchy(r^T S^-1 r) with S = sigma_px^2 I +
    sigma_depth^2 g g^T, g the derivative of the pixel by the logarithm of the depth, plus the
    prior's (t - mean)^T information (t - mean).

    Returns:
        T_prev_curr (4, 4); the (N,) Mahalanobis distances of the residuals before its last, small
        correction; and the covariance (3, 3) of the translation, prior included.
    """
    T = np.array(T_guess, dtype=np.float64)
    length = float(np.linalg.norm(prior.mean)) + _SMALLEST_LENGTH
    known = 1e-9 * np.eye(6)  # never singular
    known[:3, :3] += prior.information
    for _ in range(_ITERATIONS):
        errors = _linearize(tracks, K, T, config)
        H, b = _normal_equations(errors)
        H += known
        b[:3] += prior.information @ (T[:3, 3] - prior.mean)
        step = np.linalg.solve(H, b)
        T[:3, 3] -= step[:3]
        T[:3, :3] = so3_exp(-step[3:]) @ T[:3, :3]
        if _norm(step[3:]) < _CONVERGED_RAD and _norm(step[:3]) < length * _CONVERGED_RATIO:
            break
    covariance: FloatArray = np.linalg.inv(H)[:3, :3].astype(np.float64)
    return T, np.sqrt(errors.squares), covariance


def _norm(v: npt.NDArray[np.floating]) -> float:
    return math.hypot(*v.tolist())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Errors:
    """The residuals of N tracks under a motion and their derivatives; rows u, then rows v.

    S^-1 = (I - w g g^T) / sigma_px^2 is never formed: every product with it is one with the
    residual and one with g.

    Attributes:
        r: (2, N) residuals in pixels.
        J: (2, N, 6) their derivatives by (v, w), dX' = v + w x R X.
        g: (2, N) derivatives of the pixel by the logarithm of the depth.
        g_r: (N,) g^T r.
        w: (N,) weight of g g^T in S^-1.
        squares: (N,) squared Mahalanobis distances.
        variance: sigma_px^2.
    """

    r: FloatArray
    J: FloatArray
    g: FloatArray
    g_r: FloatArray
    w: FloatArray
    squares: FloatArray
    variance: float


def _linearize(tracks: Tracks, K: FloatArray, T: FloatArray, config: RefineConfig) -> _Errors:
    focal = np.array([[K[0, 0]], [K[1, 1]]])
    turned = T[:3, :3] @ tracks.points.T
    points = turned + T[:3, 3:]
    inv_z = 1 / np.maximum(points[2], 1e-3)
    rays = points[:2] * inv_z
    turned *= inv_z
    r = focal * rays + K[:2, 2:] - tracks.pixels_prev.T
    J = np.zeros((2, len(inv_z), 6))
    J[0, :, 0] = J[1, :, 1] = inv_z
    J[:, :, 2] = -rays * inv_z
    J[:, :, 3] = -rays * turned[1]
    J[:, :, 4] = rays * turned[0]
    J[1, :, 3] -= turned[2]
    J[0, :, 4] += turned[2]
    J[0, :, 5], J[1, :, 5] = -turned[1], turned[0]
    J *= focal[:, :, None]
    g = focal * (turned[:2] - rays * turned[2])
    variance, depth_variance = config.sigma_px**2, config.sigma_depth**2
    w = depth_variance / (variance + depth_variance * (g * g).sum(axis=0))
    g_r = (g * r).sum(axis=0)
    squares = np.maximum((r * r).sum(axis=0) - w * g_r * g_r, 0.0) / variance
    return _Errors(r=r, J=J, g=g, g_r=g_r, w=w, squares=squares, variance=variance)


def _normal_equations(e: _Errors) -> tuple[FloatArray, FloatArray]:
    """J^T W J and J^T W r with the robust weights of the residuals, (6, 6) and (6,)."""
    robust = 1.0 / (e.variance + e.squares * (e.variance / _ROBUST_SIGMAS**2))
    along = e.g[0][:, None] * e.J[0] + e.g[1][:, None] * e.J[1]
    weighted_along = along.T * (robust * e.w)
    J = e.J.reshape(-1, 6)
    weighted_J = J.T * np.concatenate([robust, robust])
    H = weighted_J @ J - weighted_along @ along
    b = weighted_J @ e.r.ravel() - weighted_along @ e.g_r
    return H, b
