"""The inner loops of the multi-view measurement, compiled for the CPU. The only user of numba.

All volumes are (hypotheses, h, w) float32. The loops hold no lock of the interpreter, so that two
threads can work at a time; each call writes only its own rows or hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from sfm_ros.depth.multiview_config import MIN_RELATIVE_DEPTH, UNSEEN

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile at the first call; keep the result in a folder that can be written, if there is one.

    numba writes beside this file or into the user's cache, see NUMBA_CACHE_DIR.
    """
    options: dict[str, Any] = dict(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: compile again at each start
        return numba.njit(**options)(function)


@_compiled
def find_differences(target, source, A, b, inv_depth, limit, result):  # type: ignore[no-untyped-def]
    """Set ``result`` to |source - target| at one hypothesis, to `UNSEEN` where out of view.

    Args:
        target, source: (h, w) normalized images.
        A: (3, 3) ``K R K^-1``.
        b: (3,) ``K t``; a pixel p at inverse depth w is seen at ``A p + w b``.
        inv_depth: (h, w) of the hypothesis.
        limit: of a difference.
        result: (h, w).
    """
    height, width = target.shape
    u, v = np.empty(width, np.float32), np.empty(width, np.float32)
    inside = np.empty(width, np.bool_)
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    zero, one = np.float32(0), np.float32(1)
    nearest = np.float32(MIN_RELATIVE_DEPTH)
    for y in range(height):
        row = np.float32(y)
        ax, ay, az = (A[0, 1] * row + A[0, 2], A[1, 1] * row + A[1, 2], A[2, 1] * row + A[2, 2])
        for x in range(width):
            column, w = np.float32(x), inv_depth[y, x]
            z = A[2, 0] * column + az + b[2] * w
            inverse = one / max(z, nearest)
            at_u = (A[0, 0] * column + ax + b[0] * w) * inverse
            at_v = (A[1, 0] * column + ay + b[1] * w) * inverse
            inside[x] = (z > nearest) & (at_u >= zero) & (at_u <= right)
            inside[x] &= (at_v >= zero) & (at_v <= bottom)
            u[x] = min(max(at_u, zero), right)
            v[x] = min(max(at_v, zero), bottom)
        for x in range(width):
            left, top = min(int(u[x]), width - 2), min(int(v[x]), height - 2)
            du, dv = u[x] - np.float32(left), v[x] - np.float32(top)
            upper, lower = source[top], source[top + 1]
            above = upper[left] + du * (upper[left + 1] - upper[left])
            below = lower[left] + du * (lower[left + 1] - lower[left])
            difference = abs(above + dv * (below - above) - target[y, x])
            result[y, x] = min(difference, limit) if inside[x] else np.float32(UNSEEN)


@_compiled
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
                is_seen = here[x] < np.float32(UNSEEN)
                result[x] += here[x] if is_seen else np.float32(0)
                seen[x] += np.float32(1) if is_seen else np.float32(0)
        for x in range(width):
            result[x] = result[x] / seen[x] if seen[x] > np.float32(0) else limit


@_compiled
def least_of(cost, least):  # type: ignore[no-untyped-def]
    """Set ``least`` (h, w) to the minimum over the hypotheses."""
    count, height, width = cost.shape
    for y in range(height):
        for x in range(width):
            least[y, x] = cost[0, y, x]
        for k in range(1, count):
            for x in range(width):
                least[y, x] = min(least[y, x], cost[k, y, x])


@_compiled
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


@_compiled
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


@_compiled
def find_best(cost, position, least, curvature, margin):  # type: ignore[no-untyped-def]
    """Find the minimum of each pixel's costs, between hypotheses by a parabola.

    Args:
        cost: (n, h, w).
        position: (h, w), set to the minimum's place, 0.5 to n - 1.5; -1 if the least cost is at an
            end of the search.
        least: (h, w), set to the cost of the best hypothesis.
        curvature: (h, w), set to that of the parabola, cost per step squared.
        margin: (h, w), set to the distance to the least cost more than two steps away.
    """
    count, height, width = cost.shape
    index = np.empty(width, np.int32)
    two, tiny, half = np.float32(2), np.float32(1e-6), np.float32(0.5)
    # A loop that writes many arrays would not be vectorized: that they do not overlap is checked
    # at run time, for a few of them.
    for y in range(height):
        best, other = least[y], margin[y]
        for x in range(width):
            index[x] = 0
            best[x] = cost[0, y, x]
        for k in range(1, count):
            here = cost[k, y]
            for x in range(width):
                is_better = here[x] < best[x]
                index[x] = k if is_better else index[x]
                best[x] = here[x] if is_better else best[x]
        for x in range(width):
            other[x] = np.float32(np.inf)
        for k in range(count):
            here = cost[k, y]
            for x in range(width):
                beyond = here[x] if abs(k - index[x]) > 2 else np.float32(np.inf)
                other[x] = min(other[x], beyond)
        for x in range(width):
            other[x] -= best[x]
        for x in range(width):
            k = index[x]
            is_inner = (k > 0) & (k < count - 1)
            low, high = cost[max(k - 1, 0), y, x], cost[min(k + 1, count - 1), y, x]
            bend = max(low - two * best[x] + high, tiny)
            place = np.float32(k) + half * (low - high) / bend
            position[y, x] = place if is_inner else np.float32(-1)
            curvature[y, x] = bend if is_inner else np.float32(0)


@_compiled
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
