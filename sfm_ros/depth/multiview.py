"""Inverse depth measured by matching an image with others along the motion between them.

For each pixel, hypotheses of the inverse depth around a prior are tried: all at half the size of
the image, a few around the best at full size. The matching cost is the difference of locally
normalized gray levels, so that gain and offset of an exposure cancel; it is compared between
neighboring pixels as in semi-global matching (Hirschmueller, PAMI 2008, eq. 11-14), but in a few
parallel rounds instead of along paths. Windows follow the shape of the prior, so that a road or a
facade needs no window of its own. ``training.geometry.multiview`` computes the same in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.depth import kernels
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.maps import GrayImage
from sfm_ros.depth.multiview_config import TINY, MultiViewConfig
from sfm_ros.errors import ImageError

_Array = npt.NDArray[np.float32]

_SMALLEST = 16
"""Side of an image, pixels."""


def measure(
    target: GrayImage,
    sources: Sequence[GrayImage],
    T_source_target: Sequence[FloatArray],
    K: FloatArray,
    prior: InverseDepth,
    config: MultiViewConfig | None = None,
    floor: DepthMap | None = None,
    executor: Executor | None = None,
) -> InverseDepth:
    """Measure the inverse depth of an image's pixels.

    Args:
        target: (h, w) uint8 gray.
        sources: images of the same camera and size, at other times.
        T_source_target: (4, 4) motions that map points of the target camera into each source's.
        K: (3, 3) of the images, pixels.
        prior: guess of the inverse depth, and its standard deviation, which sets how far is
            searched.
        config: constants.
        floor: (h, w) inverse depth of the road, or None; below it nothing is measured.
        executor: of threads; it takes half of the work, if there is one.

    Returns:
        The measurement, independent of the prior but for where it searched; valid where the
        match is good, unique, agreed on by the sources, and certain enough. Without sources, or
        without parallax, nothing is valid.

    Raises:
        ImageError: the images, or the prior, are of different sizes, or too small.
    """
    config = config or MultiViewConfig()
    _check_sizes(target, sources, prior)
    guess = np.where(prior.valid, prior.inv_depth, np.float32(1))
    if not sources:
        return InverseDepth(guess, guess, np.zeros(guess.shape, bool))
    spread = np.where(prior.valid, prior.relative_sigma, np.float32(1)) * config.range_sigmas
    reach = np.clip(spread, config.min_range, config.max_range).astype(np.float32)
    search = Search(target, sources, T_source_target, K, config, executor)
    shift, margin = search.half().find_coarse(_halved(guess), _halved(reach))
    shift, margin = _doubled(shift, guess.shape), _doubled(margin, guess.shape)
    found = search.find_fine(guess * np.exp(shift), reach, margin)
    valid = found.valid & prior.valid
    if floor is not None:
        valid &= found.inv_depth > config.min_floor * floor
    return replace(found, valid=valid)


def _check_sizes(target: GrayImage, sources: Sequence[GrayImage], prior: InverseDepth) -> None:
    """The compiled loops do not check what they read."""
    others: list[npt.NDArray] = [*sources, prior.inv_depth, prior.sigma, prior.valid]
    shapes = [image.shape for image in others]
    if min(target.shape) < _SMALLEST or any(shape != target.shape for shape in shapes):
        raise ImageError(
            f"the image is {target.shape}, its sources and prior are {sorted(set(shapes))}; "
            f"expected one size of at least {_SMALLEST}x{_SMALLEST}"
        )


def compile_kernels() -> None:
    """Compile what `measure` needs, which takes seconds, unless an earlier run has left it.

    Call it before images come, possibly in another thread.
    """
    image = np.zeros((_SMALLEST, _SMALLEST), np.uint8)
    prior = InverseDepth.from_depth(np.ones(image.shape, np.float32), 0.3)
    measure(image, [image], [np.eye(4)], np.diag([16.0, 16.0, 1.0]), prior)


class Search:
    """The images of one size, normalized, and where they see each other.

    Args: see `measure`; the images may be float32.

    Attributes:
        size: width and height, pixels.
    """

    def __init__(
        self,
        target: npt.NDArray,
        sources: Sequence[npt.NDArray],
        T_source_target: Sequence[FloatArray],
        K: FloatArray,
        config: MultiViewConfig,
        executor: Executor | None,
    ) -> None:
        self.size = target.shape[::-1]
        self._images = [target, *sources]
        self._motions, self._K = T_source_target, np.asarray(K, np.float64)
        self._config, self._executor = config, executor
        self._A, self._b = _projections(T_source_target, self._K)
        self._normalized = np.stack(
            _map(executor, lambda i: _normalized(self._images[i], config), len(self._images))
        )

    def half(self) -> Search:
        """The same at half the size."""
        target, *sources = (_halved(image) for image in self._images)
        K = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]]) @ self._K
        return Search(target, sources, self._motions, K, self._config, self._executor)

    def find_coarse(self, guess: _Array, reach: _Array) -> tuple[_Array, _Array]:
        """Search in the whole range.

        Args:
            guess, reach: (h, w) inverse depth, and half the range of its logarithm.

        Returns:
            The logarithm of the inverse depth over the guess, and the distance to the cost of the
            second best match, -1 without a minimum inside the range; (h, w) each.
        """
        config, count = self._config, self._config.hypotheses
        spacing = 2 / (count - 1)
        joint = np.empty((1, count, *guess.shape), np.float32)

        def match(k: int) -> None:
            w = guess * np.exp(reach * np.float32(k * spacing - 1))
            self._match(w, config.window, joint, k)

        _map(self._executor, match, count)
        costs = _smoothed(joint[0], config)
        position, least, curvature, margin = np.empty((4, *guess.shape), np.float32)
        kernels.find_best(costs, position, least, curvature)
        kernels.find_margin(costs, position, least, margin)
        shift = reach * (position * np.float32(spacing) - 1)
        return np.where(position > 0, shift, np.float32(0)), margin

    def find_fine(self, center: _Array, reach: _Array, margin: _Array) -> InverseDepth:
        """Search around a result at half size; (h, w) each."""
        config, count = self._config, self._config.fine_hypotheses
        parallax = np.full_like(center, TINY)
        for A, b in zip(self._A, self._b, strict=True):
            kernels.find_parallax(A, b, center, parallax)
        step = reach * np.float32(2 * config.fine_step / (config.hypotheses - 1))
        step = np.minimum(step, np.float32(config.fine_pixels) / parallax)
        # The joint cost, then that of each source.
        costs = np.empty((1 + len(self._A), count, *center.shape), np.float32)

        def match(k: int) -> None:
            w = center * (step * np.float32(k - count // 2) + 1)
            self._match(w, config.fine_window, costs, k)

        _map(self._executor, match, count)
        position, least, curvature = np.empty((3, *costs[:, 0].shape), np.float32)
        _map(
            self._executor,
            lambda i: kernels.find_best(costs[i], position[i], least[i], curvature[i]),
            len(costs),
        )
        inv_depth, sigma, valid = np.empty_like(center), np.empty_like(center), margin > 0
        kernels.finish(
            center, step, parallax, margin, position, least, curvature[0],
            _limits(config), kernels.as_float32(config.sigmas), inv_depth, sigma, valid,
        )  # fmt: skip
        density = np.empty_like(center)
        kernels.blur(valid.astype(np.float32), _offsets(config.density_window), density)
        return InverseDepth(inv_depth, sigma, valid & (density > config.min_density))

    def _match(self, inv_depth: _Array, window: int, costs: _Array, k: int) -> None:
        """Set hypothesis k of the costs (1, n, h, w), or (1 + s, n, h, w) with each source's."""
        limit, offsets = np.float32(self._config.truncation), _offsets(window)
        kernels.match(self._normalized, self._A, self._b, inv_depth, limit, offsets, costs, k)


def _projections(motions: Sequence[FloatArray], K: FloatArray) -> tuple[_Array, _Array]:
    """Where sources see the target's pixels: ``A p + w b`` at inverse depth w, homogeneous.

    (s, 3, 3) ``A = K R K^-1`` and (s, 3) ``b = K t`` of the (4, 4) motions to s sources.
    """
    K_inv = np.linalg.inv(K)
    A, b = [K @ T[:3, :3] @ K_inv for T in motions], [K @ T[:3, 3] for T in motions]
    return np.stack(A).astype(np.float32), np.stack(b).astype(np.float32)


def _map(executor: Executor | None, function: Callable[[int], object], count: int) -> list:
    """The results for 0 to count - 1, half of them from the executor if there is one."""
    if executor is None:
        return [function(i) for i in range(count)]
    middle = (count + 1) // 2
    later = executor.submit(lambda: [function(i) for i in range(middle, count)])
    return [function(i) for i in range(middle)] + later.result()


def _limits(config: MultiViewConfig) -> tuple[np.float32, ...]:
    """See `kernels.finish`."""
    return kernels.as_float32(
        (
            config.max_cost,
            config.truncation,
            config.min_margin,
            config.max_source_gap,
            config.min_parallax,
            config.max_relative_sigma,
            config.fine_hypotheses // 2,
        )
    )


def _smoothed(cost: _Array, config: MultiViewConfig) -> _Array:
    """The cost plus what neighboring pixels would charge for the same hypothesis."""
    total, message = cost.copy(), np.empty_like(cost)
    least = np.empty(cost.shape[1:], np.float32)
    small, large = np.float32(config.small_jump), np.float32(config.large_jump)
    weight = np.float32(config.smooth_weight / 4)
    for distance in config.smooth_distances:
        kernels.least_of(total, least)
        kernels.send_messages(total, least, small, large, message)
        kernels.add_messages(cost, message, distance, weight, total)
    return total


def _normalized(image: npt.NDArray, config: MultiViewConfig) -> _Array:
    """Gray levels minus their local mean, over their local contrast."""
    image, size = image.astype(np.float32), (config.normal_window, config.normal_window)
    mean = cv2.blur(image, size, borderType=cv2.BORDER_REPLICATE)
    square = cv2.sqrBoxFilter(image, cv2.CV_32F, size, borderType=cv2.BORDER_REPLICATE)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    normalized = (image - mean) / (deviation + np.float32(config.contrast))
    return normalized.astype(np.float32, copy=False)


def _offsets(side: int) -> tuple[int, ...]:
    """Of the rows and columns of a window."""
    return tuple(range(-(side // 2), side - side // 2))


def _halved(image: npt.NDArray) -> _Array:
    """Mean of two by two pixels; an odd last row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = image[: 2 * height, : 2 * width].astype(np.float32)
    half = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.float32)


def _doubled(image: _Array, shape: tuple[int, ...]) -> _Array:
    """Each pixel repeated two by two, and at an odd border."""
    size = (2 * image.shape[1], 2 * image.shape[0])
    doubled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), np.float32)
    rest = [(0, size - done) for size, done in zip(shape, doubled.shape, strict=True)]
    return np.pad(doubled, rest, mode="edge") if np.any(rest) else doubled
