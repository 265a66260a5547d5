"""The inner loops of the multi-view measurement, compiled for the CPU. The only user of numba.

All volumes are (hypotheses, h, w) float32. The loops hold no lock of the interpreter, so that two
threads can work at a time; each call writes only its own rows or hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numba
import numpy as np

from sfm_ros.depth.multiview_config import (
    MIN_RELATIVE_DEPTH,
    OUT_OF_VIEW,
    TINY,
    relative_variance,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile at the first call; keep the result in a folder that can be written, if there is one.

    numba writes beside this file or into the user's cache, see NUMBA_CACHE_DIR.
    """
    options: dict[str, Any] = dict(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: compile again at each start
        return numba.njit(**options)(function)


def as_float32(numbers: Iterable[float]) -> tuple[np.float32, ...]:
    """Numbers for a compiled function; others would make it compute in double precision."""
    return tuple(np.float32(number) for number in numbers)


@compiled
def find_differences(target, source, A, b, inv_depth, limit, result):  # type: ignore[no-untyped-def]
    """Set ``result`` to |source - target| at one hypothesis, to `OUT_OF_VIEW` where out of view.

    Args:
        target, source: (h, w) normalized images.
        A: (3, 3) ``K R K^-1``.
        b: (3,) ``K t``; a pixel p at inverse depth w is seen at ``A p + w b``.
        inv_depth: (h, w) of the hypothesis.
        limit: of a difference.
        result: (h, w).
    """
    height, width = target.shape
    flat, place = source.ravel(), np.empty(width, np.int32)
    du, dv = np.empty(width, np.float32), np.empty(width, np.float32)
    sample, inside = np.empty(width, np.float32), np.empty(width, np.bool_)
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    last_left, last_top = np.int32(width - 2), np.int32(height - 2)
    zero, one = np.float32(0), np.float32(1)
    # Unsigned, they need no check for negative ones, which count from the end.
    beside, below = np.uint64(1), np.uint64(width)
    nearest = np.float32(MIN_RELATIVE_DEPTH)
    for y in range(height):
        row, inverse_depth, own, costs = np.float32(y), inv_depth[y], target[y], result[y]
        ax, ay, az = (A[0, 1] * row + A[0, 2], A[1, 1] * row + A[1, 2], A[2, 1] * row + A[2, 2])
        for x in range(width):
            column, w = np.float32(x), inverse_depth[x]
            z = A[2, 0] * column + az + b[2] * w
            inverse = one / max(z, nearest)
            u = (A[0, 0] * column + ax + b[0] * w) * inverse
            v = (A[1, 0] * column + ay + b[1] * w) * inverse
            inside[x] = (z > nearest) & (u >= zero) & (u <= right) & (v >= zero) & (v <= bottom)
            u, v = min(max(u, zero), right), min(max(v, zero), bottom)
            left, top = min(np.int32(u), last_left), min(np.int32(v), last_top)
            du[x], dv[x] = u - np.float32(left), v - np.float32(top)
            place[x] = top * np.int32(width) + left
        for x in range(width):
            i = np.uint64(place[x])
            upper = flat[i] + du[x] * (flat[i + beside] - flat[i])
            lower = flat[i + below]
            lower += du[x] * (flat[i + below + beside] - lower)
            sample[x] = upper + dv[x] * (lower - upper)
        for x in range(width):
            difference = min(abs(sample[x] - own[x]), limit)
            costs[x] = difference if inside[x] else np.float32(OUT_OF_VIEW)


@compiled
def average_seen(differences, limit, mean):  # type: ignore[no-untyped-def]
    """Set ``mean`` (h, w) to that of the sources (s, h, w) in view, or to the limit."""
    count, height, width = differences.shape
    for y in range(height):
        result = mean[y]
        seen = np.zeros(width, np.float32)
        for x in range(width):
            result[x] = np.float32(0)
        for s in range(count):
            here = differences[s, y]
            for x in range(width):
                is_seen = here[x] < np.float32(OUT_OF_VIEW)
                result[x] += here[x] if is_seen else np.float32(0)
                seen[x] += np.float32(1) if is_seen else np.float32(0)
        for x in range(width):
            result[x] = result[x] / seen[x] if seen[x] > np.float32(0) else limit


@compiled
def blur(image, offsets, result):  # type: ignore[no-untyped-def]
    """Set ``result`` (h, w) to the mean over a square window, across a repeated border.

    Four times as fast as OpenCV's, which sums in double precision.

    Args:
        image: (h, w), another array.
        offsets: of the rows and columns of the window, a tuple, so that the compiled loops over
            it are unrolled; in order, without a gap.
        result: (h, w).
    """
    height, width = image.shape
    count, left = len(offsets), -offsets[0]
    sums, scale = np.empty(width + count - 1, np.float32), np.float32(1.0 / (count * count))
    inner = sums[left:]
    for y in range(height):
        for x in range(width):
            total = np.float32(0)
            for k in range(count):
                total += image[min(max(y + offsets[k], 0), height - 1), x]
            inner[x] = total
        for x in range(left):
            sums[x] = inner[0]
        for x in range(left + width, width + count - 1):
            sums[x] = inner[width - 1]
        mean = result[y]
        for x in range(width):
            total = np.float32(0)
            for k in range(count):
                total += sums[x + k]
            mean[x] = total * scale


@compiled
def match(images, A, b, inv_depth, limit, offsets, costs, k):  # type: ignore[no-untyped-def]
    """Set one hypothesis of the costs, in a single call, since two threads wait for each other.

    Args:
        images: (1 + s, h, w) normalized, the target first.
        A, b: (s, 3, 3), (s, 3), with ``inv_depth`` and ``limit`` as in `find_differences`.
        offsets: see `blur`.
        costs: (1, n, h, w) the joint ones, or (1 + s, n, h, w) with those of each source.
        k: which one.
    """
    differences, mean = np.empty_like(images[1:]), np.empty_like(inv_depth)
    for s in range(len(differences)):
        find_differences(images[0], images[1 + s], A[s], b[s], inv_depth, limit, differences[s])
    average_seen(differences, limit, mean)
    blur(mean, offsets, costs[0, k])
    for s in range(1, len(costs)):
        blur(differences[s - 1], offsets, costs[s, k])


@compiled
def least_of(cost, least):  # type: ignore[no-untyped-def]
    """Set ``least`` (h, w) to the minimum over the hypotheses."""
    count, height, width = cost.shape
    for y in range(height):
        for x in range(width):
            least[y, x] = cost[0, y, x]
        for k in range(1, count):
            for x in range(width):
                least[y, x] = min(least[y, x], cost[k, y, x])


@compiled
def send_messages(total, least, small_jump, large_jump, message):  # type: ignore[no-untyped-def]
    """Set ``message`` to what each pixel would charge a neighbor (Hirschmueller eq. 13)."""
    count, height, width = total.shape
    for k in range(count):
        below, above = max(k - 1, 0), min(k + 1, count - 1)
        for y in range(height):
            for x in range(width):
                beside = min(total[below, y, x], total[above, y, x]) + small_jump
                charge = min(total[k, y, x], beside) - least[y, x]
                message[k, y, x] = min(charge, large_jump)


@compiled
def add_messages(cost, message, distance, weight, total):  # type: ignore[no-untyped-def]
    """Set ``total`` to the cost plus the messages of four neighbors at a distance."""
    count, height, width = cost.shape
    for k in range(count):
        for y in range(height):
            row, result = message[k, y], total[k, y]
            up, down = message[k, max(y - distance, 0)], message[k, min(y + distance, height - 1)]
            for x in range(width):
                result[x] = up[x] + down[x]
            for x in range(distance):
                result[x] += row[0]
                result[width - 1 - x] += row[width - 1]
            inner, before, after = result[distance:], row, row[distance:]
            for x in range(width - distance):
                inner[x] += before[x]
            for x in range(width - distance):
                result[x] += after[x]
            own = cost[k, y]
            for x in range(width):
                result[x] = own[x] + weight * result[x]


@compiled
def find_best(cost, position, least, curvature):  # type: ignore[no-untyped-def]
    """Find the minimum of each pixel's costs, between hypotheses by a parabola.

    Args:
        cost: (n, h, w).
        position: (h, w), set to the minimum's place, 0.5 to n - 1.5; -1 if the least cost is at an
            end of the search.
        least: (h, w), set to the cost of the best hypothesis.
        curvature: (h, w), set to that of the parabola, cost per step squared.
    """
    count, height, width = cost.shape
    index, last = np.empty(width, np.float32), np.float32(count - 2)
    low, high = np.zeros(width, np.float32), np.zeros(width, np.float32)
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    tiny, half = np.float32(1e-6), np.float32(0.5)
    # A loop that writes many arrays would not be vectorized: that they do not overlap is checked
    # at run time, for a few of them.
    for y in range(height):
        best = least[y]
        for x in range(width):
            index[x], best[x] = zero, cost[0, y, x]
        for k in range(1, count):
            here, before, place = cost[k, y], cost[k - 1, y], np.float32(k)
            for x in range(width):
                cost_here, kept = here[x], high[x]
                high[x] = cost_here if index[x] == place - one else kept
            for x in range(width):
                cost_before, kept = before[x], low[x]
                low[x] = cost_before if here[x] < best[x] else kept
            for x in range(width):
                kept = index[x]
                index[x] = place if here[x] < best[x] else kept
            for x in range(width):
                best[x] = min(best[x], here[x])
        places, bends = position[y], curvature[y]
        for x in range(width):
            is_inner = (index[x] > zero) & (index[x] <= last)
            offset = half * (low[x] - high[x]) / max(low[x] - two * best[x] + high[x], tiny)
            inner = index[x] + offset
            places[x] = inner if is_inner else np.float32(-1)
        for x in range(width):
            is_inner = (index[x] > zero) & (index[x] <= last)
            bend = max(low[x] - two * best[x] + high[x], tiny)
            bends[x] = bend if is_inner else zero


@compiled
def find_margin(cost, position, least, margin):  # type: ignore[no-untyped-def]
    """Set ``margin`` (h, w) to the distance to the least cost more than two steps away.

    Without a minimum inside the search it is -1. For the others see `find_best`.
    """
    count, height, width = cost.shape
    for y in range(height):
        other, index = margin[y], np.rint(position[y])
        for x in range(width):
            other[x] = np.float32(OUT_OF_VIEW)
        for k in range(count):
            here, at = cost[k, y], np.float32(k)
            for x in range(width):
                beyond = here[x] if abs(at - index[x]) > np.float32(2) else np.float32(OUT_OF_VIEW)
                other[x] = min(other[x], beyond)
        best, place = least[y], position[y]
        for x in range(width):
            other[x] = other[x] - best[x] if place[x] > np.float32(0) else np.float32(-1)


@compiled
def find_parallax(A, b, inv_depth, parallax):  # type: ignore[no-untyped-def]
    """Raise ``parallax`` (h, w) to the pixels by which the projection into one source moves.

    Per unit of the logarithm of the inverse depth; see `find_differences`.
    """
    height, width = inv_depth.shape
    nearest = np.float32(MIN_RELATIVE_DEPTH)
    for y in range(height):
        row, w, result = np.float32(y), inv_depth[y], parallax[y]
        ax, ay, az = (A[0, 1] * row + A[0, 2], A[1, 1] * row + A[1, 2], A[2, 1] * row + A[2, 2])
        for x in range(width):
            column = np.float32(x)
            inverse = np.float32(1) / max(A[2, 0] * column + az + b[2] * w[x], nearest)
            du = b[0] - b[2] * (A[0, 0] * column + ax + b[0] * w[x]) * inverse
            dv = b[1] - b[2] * (A[1, 0] * column + ay + b[1] * w[x]) * inverse
            result[x] = max(result[x], np.sqrt(du * du + dv * dv) * w[x] * inverse)


# Kept compiled with `finish`: a change of it shows when this file has changed, too.
_relative_variance = numba.njit(relative_variance)


@compiled
def finish(  # type: ignore[no-untyped-def]
    center, step, parallax, margin, position, least, curvature, limits, sigmas,
    inv_depth, sigma, valid,
):  # fmt: skip
    """Set the measurement from the minima of the joint cost and of each source's.

    Args:
        center, step: (h, w) of the hypotheses at full size.
        parallax, margin: (h, w).
        position, least: (1 + s, h, w) of the joint cost and of each source's, see `find_best`.
        curvature: (h, w) of the joint cost.
        limits: most cost, truncation, least margin, most gap, least parallax, most relative
            standard deviation, and the index of the middle hypothesis.
        sigmas: see `MultiViewConfig.sigmas`.
        inv_depth, sigma, valid: (h, w), set.
    """
    count, height, width = position.shape
    max_cost, truncation, min_margin, max_gap, min_parallax, max_relative, middle = limits
    zero, one, tiny = np.float32(0), np.float32(1), np.float32(TINY)
    gap, relative = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        place = position[0, y]
        for x in range(width):
            gap[x] = zero
        for s in range(1, count):
            for x in range(width):
                own = abs(position[s, y, x] - place[x])
                own = own if position[s, y, x] > zero else np.float32(OUT_OF_VIEW)
                gap[x] = max(gap[x], zero if least[s, y, x] > truncation else own)
        for x in range(width):
            relative[x] = np.sqrt(
                _relative_variance(
                    step[y, x],
                    max(curvature[y, x], tiny),
                    min(gap[x], max_gap),
                    max(margin[y, x], tiny),
                    parallax[y, x],
                    sigmas,
                )  # fmt: skip
            )
        for x in range(width):
            inv_depth[y, x] = center[y, x] * (step[y, x] * (place[x] - middle) + one)
        for x in range(width):
            sigma[y, x] = relative[x] * inv_depth[y, x]
        for x in range(width):
            is_good = (place[x] > zero) & (least[0, y, x] < max_cost) & (gap[x] < max_gap)
            is_good &= (margin[y, x] > min_margin) & (parallax[y, x] > min_parallax)
            valid[y, x] = is_good & (relative[x] < max_relative)
