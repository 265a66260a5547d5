"""Depth of a moving camera: the network's, corrected by what several views measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, Reason
from sfm_ros.depth import filter as depth_filter
from sfm_ros.depth import state_kernels
from sfm_ros.depth.filter import DepthState
from sfm_ros.depth.ground_plane import GroundPlane, floats
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.kernels import as_float32
from sfm_ros.depth.maps import GrayImage, Map, Mask, median, new_maps, sample, select
from sfm_ros.depth.network_prior import NetworkPrior, Prior
from sfm_ros.depth.propagation import PixelRays
from sfm_ros.depth.road_kernels import find_road
from sfm_ros.depth.scale_check import ScaleCheck
from sfm_ros.depth.sources import SourceViews

Measure = Callable[..., InverseDepth]

_CERTAIN = 0.2
"""Relative sigma below which a measured state teaches the others."""
_NETWORK_GAIN, _DOUBT_GAIN, _ROAD_GAIN = 0.15, 0.6, 0.5
"""Share of a Kalman gain with which the network, as a rule and with a doubtful motion, and the
plane of the road correct a state."""
_ROAD_SIGMA = 0.06
_ROAD_AGREES = 0.15
"""Of the logarithm: road is where the network, and what is measured, differ by less from it."""
_NEAR_HORIZON = 0.015
"""Least inverse depth of the road; beyond, its slope is too uncertain."""
_TOO_NEAR, _TOO_FAR = 5.0, 0.5
"""Of the measured over the network's inverse depth: beyond these, it is of something that moves.
The network misses poles, but seldom an obstacle that is not there."""
_LEAST_TRAVEL = 0.003
"""Travel over the typical depth between measurements: from the same place they repeat errors."""
_SEARCH_SIGMA = 0.35
"""Relative standard deviation of the network for the search. It starts from the network because
that is smooth, so that windows of pixels match as one, and from nothing measured before, so that
errors are not found again because they are looked for."""
_EDGE_SHARE = 0.4
"""Of the relative jump of the depth around a pixel, as standard deviation: an edge of the depth is
known to a pixel only."""
_SPECKLES = 5
"""Side of the median filter of what is published, pixels."""
_MIN_COMPARED = 100


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FusedDepth:
    """Depth of one frame.

    Attributes:
        depth: (h, w) along +z in the unit of the motion, NaN where it is unknown.
        uncertainty: (h, w) relative standard deviation.
        reasons: what is doubtful.
    """

    depth: DepthMap
    uncertainty: DepthMap
    reasons: tuple[Reason, ...] = ()


class DepthFusion:
    """Depth from the newest image, the ones before it, and the motion between.

    Without motion (at rest, turning on the spot) nothing is measured: what is known stays, and
    goes over to the network. After `restart` the network alone is there, with the last factor.

    Args:
        measure: `sfm_ros.depth.multiview.measure`, or the like.
    """

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._network = NetworkPrior()
        self._plane = GroundPlane()
        self._views = SourceViews()
        self._scale = ScaleCheck()
        self._rays: PixelRays | None = None
        self.restart()

    @staticmethod
    def compile() -> None:
        """Compile what `step` needs, which takes seconds, unless an earlier run has left it."""
        side, motion = 32, np.eye(4)
        motion[2, 3] = 0.1
        # A road, so that a plane is found.
        rows = np.arange(5, 5 + side, dtype=np.float32)[:, None]
        depth: DepthMap = np.repeat(np.float32(50) / rows, side, axis=1)
        fusion = DepthFusion(lambda *_, **__: InverseDepth.from_depth(depth, 0.1))
        for _ in range(3):
            fusion.step(
                np.zeros((side, side), np.uint8), depth, np.diag([side, side, 1.0]), motion
            )

    def reset(self) -> None:
        """Forget everything."""
        self._network.reset()
        self._plane.reset()
        self.restart()

    def restart(self) -> None:
        """Forget the images: the motion to them is unknown."""
        self._state: DepthState | None = None
        self._gray: GrayImage | None = None
        self._views.clear()
        self._scale.reset()
        self._travel = 0.0

    def step(
        self, gray: GrayImage, depth: DepthMap, K: FloatArray, T_prev_curr: FloatArray | None
    ) -> FusedDepth:
        """Fuse the next frame.

        Args:
            gray: (h, w) the image.
            depth: (h, w) the network's, in the unit of the motion, NaN where it is invalid.
            K: (3, 3) of its grid.
            T_prev_curr: (4, 4) motion since the last frame given here; None if it is unknown.
        """
        rays = self._rays_of(K, gray.shape[:2])
        network, invalid = _inverted(depth)
        if T_prev_curr is None:
            self.restart()
        predicted = self._predicted(rays, network, gray, T_prev_curr)
        measured, reasons = self._measured(rays, predicted, network, gray)
        if reasons:
            predicted = depth_filter.doubted(predicted)
        gain = _DOUBT_GAIN if reasons else _NETWORK_GAIN
        state = self._updated(rays, predicted, network, gray, measured, gain)
        self._state, self._gray = state, gray
        self._views.add(gray, _typical(state.inv_depth))
        return _published(state, invalid, reasons)

    def glance(self, gray: GrayImage, depth: DepthMap, K: FloatArray) -> FusedDepth:
        """Depth of a frame that hardly moved since the last one, and is not the next one's past.

        The arguments are those of `step`.
        """
        rays = self._rays_of(K, gray.shape[:2])
        network, invalid = _inverted(depth)
        predicted = self._predicted(rays, network, gray, np.eye(4))
        return _published(self._updated(rays, predicted, network, gray, None), invalid, ())

    def _rays_of(self, K: FloatArray, shape: tuple[int, int]) -> PixelRays:
        if self._rays is None or self._rays.shape != shape or np.any(self._rays.K != K):
            self._rays = PixelRays(K, shape)
            self.restart()
        return self._rays

    def _predicted(
        self, rays: PixelRays, network: Map, gray: GrayImage, T: FloatArray | None
    ) -> DepthState:
        guess = self._network.last(network)
        if self._state is None or self._gray is None or T is None:
            return depth_filter.nothing(guess)
        self._views.move(T)
        self._travel += float(np.linalg.norm(T[:3, 3]))
        return depth_filter.predict(self._state, rays, guess, T, gray, self._gray)

    def _measured(
        self, rays: PixelRays, predicted: DepthState, network: Map, gray: GrayImage
    ) -> tuple[InverseDepth | None, tuple[Reason, ...]]:
        """What the views measure, unless it contradicts everything else; and whether it does."""
        typical = _typical(predicted.inv_depth)
        sources = self._views.choose(typical)
        if not sources or self._travel * typical < _LEAST_TRAVEL:
            return None, ()
        self._travel = 0.0
        guess = self._network.scaled(network)
        prior = InverseDepth(
            guess, np.float32(_SEARCH_SIGMA) * guess, np.ones(gray.shape, dtype=bool)
        )
        images, motions = zip(*((v.gray, v.T_source_target) for v in sources), strict=True)
        found = self._measure(
            gray, images, motions, rays.K, prior,
            floor=self._plane.inv_depth(rays),
        )  # fmt: skip
        return self._checked(found, predicted, network)

    def _checked(
        self, found: InverseDepth, predicted: DepthState, network: Map
    ) -> tuple[InverseDepth | None, tuple[Reason, ...]]:
        """The measurement, unless the length of the motion is wrong."""
        from_network = _log_ratio(found.inv_depth, network, found.valid) - self._network.log_factor
        jump = _log_ratio(
            found.inv_depth, predicted.inv_depth, found.valid & predicted.is_measured(_CERTAIN)
        )
        if self._scale.is_wrong(from_network, jump):
            return None, (Reason.DEPTH_MISMATCH,)
        return found, ()

    def _updated(
        self,
        rays: PixelRays,
        predicted: DepthState,
        network: Map,
        gray: GrayImage,
        measured: InverseDepth | None,
        network_gain: float = _NETWORK_GAIN,
    ) -> DepthState:
        certain = known = predicted.is_measured(_CERTAIN)
        inv_depth = predicted.inv_depth
        if measured is not None:
            inv_depth = select(known, inv_depth, measured.inv_depth)
            known = known | measured.valid
            self._plane.update(rays, select(measured.valid, measured.inv_depth, inv_depth), known)
        road, found = self._road(rays, network, predicted, certain)
        plane = network if found is None else found
        prior = self._network.correct(
            gray, network, select(road & ~known, plane, inv_depth), known | road
        )
        prior = Prior(
            inv_depth=select(road, plane, prior.inv_depth),
            relative_sigma=select(road, np.full_like(plane, _ROAD_SIGMA), prior.relative_sigma),
        )
        gain = select(road, np.full_like(plane, _ROAD_GAIN), np.full_like(plane, network_gain))
        state = depth_filter.draw_toward(predicted, prior, gain)
        if measured is None:
            return state
        ratio = measured.inv_depth / prior.inv_depth
        moves = (ratio > _TOO_NEAR) | (ratio < _TOO_FAR)
        if found is not None:
            moves |= floats(rays, measured.inv_depth, state.inv_depth, found)
        return depth_filter.correct(state, measured, moves)

    def _road(
        self, rays: PixelRays, network: Map, predicted: DepthState, certain: Mask
    ) -> tuple[Mask, Map | None]:
        """Where network and state agree with the plane of the road; its inverse depth or None."""
        plane = self._plane.inv_depth(rays)
        if plane is None:
            return np.zeros(rays.shape, dtype=bool), None
        limits = (_NEAR_HORIZON, np.exp(-_ROAD_AGREES), np.exp(_ROAD_AGREES), _ROAD_AGREES)
        scaled = self._network.scaled(network)
        road = np.empty(rays.shape, dtype=bool)
        find_road(plane, scaled, predicted.inv_depth, certain, as_float32(limits), road)
        return road, plane


def _inverted(depth: DepthMap) -> tuple[Map, Mask]:
    """(h, w) inverse depth, and where there is none: it is 1 there."""
    (inv_depth,), invalid = new_maps(1, depth.shape), np.empty(depth.shape, dtype=np.bool_)
    # A copy, since a map of another kind would be compiled for first, even a read-only one.
    state_kernels.invert(np.array(depth, dtype=np.float32, order="C"), inv_depth, invalid)
    return inv_depth, invalid


def _typical(inv_depth: Map) -> float:
    return median(inv_depth[::8, ::8].ravel())


def _log_ratio(values: Map, others: Map, known: Mask) -> float:
    """Median of the logarithm of a ratio; 0 if too few are known."""
    ratios = sample(values / others, known)
    return float(np.log(median(ratios))) if len(ratios) >= _MIN_COMPARED else 0.0


def _published(state: DepthState, invalid: Mask, reasons: tuple[Reason, ...]) -> FusedDepth:
    w = np.asarray(cv2.medianBlur(state.inv_depth, _SPECKLES), dtype=np.float32)
    extent = cv2.morphologyEx(w, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    depth, uncertainty = new_maps(2, w.shape)
    state_kernels.publish(
        w, state.variance, extent, invalid, np.float32(_EDGE_SHARE), depth, uncertainty
    )
    return FusedDepth(depth=depth, uncertainty=uncertainty, reasons=reasons)
