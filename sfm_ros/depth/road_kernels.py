"""The plane of the road: fitted, found in a frame, and what floats above it; for the CPU.

Maps are (h, w), float32 or bool; so are the slopes x (1, w) and y (h, 1) of the rays. A loop over
a row writes one array, see `state_kernels`.
"""

from __future__ import annotations

import numpy as np

from sfm_ros.depth.kernels import compiled


@compiled
def pick_points(  # type: ignore[no-untyped-def]
    x_slopes, y_slopes, inv_depth, known, limits, every, points
):
    """Put the slopes and the inverse depth of points that may be road into the rows of ``points``.

    Args:
        x_slopes, y_slopes: of the rays.
        inv_depth: of each pixel.
        known: where it counts.
        limits: least slope below the optical axis, and most slope to the sides over that.
        every: rows and columns that are used.
        points: (3, n), set.

    Returns:
        How many there are.
    """
    lowest, width = limits
    count = 0
    for i in range(0, inv_depth.shape[0], every):
        y = y_slopes[i, 0]
        if y <= lowest:
            continue
        for j in range(0, inv_depth.shape[1], every):
            if known[i, j] and abs(x_slopes[0, j]) < width * y:
                points[0, count], points[1, count] = x_slopes[0, j], y
                points[2, count] = inv_depth[i, j]
                count += 1
    return count


@compiled
def sum_weighted(points, plane, scale, least, sums):  # type: ignore[no-untyped-def]
    """Sum up products of the points with the weights of Geman-McClure about a plane.

    Args:
        points: (3, n) slopes x and y, and inverse depth w.
        plane: (3,) inverse depth per slope x and y, and on the optical axis.
        scale: relative difference from the plane at which a weight is a quarter.
        least: inverse depth to divide by.
        sums: (3, 4), set to the weighted sums of (x, y, 1) times (x, y, 1, w).
    """
    count = points.shape[1]
    weights = np.empty(count, np.float64)
    a, b, c = plane[0], plane[1], plane[2]
    xs, ys, ws = points[0], points[1], points[2]
    for i in range(count):
        expected = a * xs[i] + b * ys[i] + c
        divisor = max(expected, least)
        off = (ws[i] - expected) / divisor / scale
        root = divisor * (1.0 + off * off)
        weights[i] = 1.0 / (root * root)
    xx = xy = x1 = xw = yy = y1 = yw = total = total_w = 0.0
    for i in range(count):
        p, x, y, w = weights[i], np.float64(xs[i]), np.float64(ys[i]), np.float64(ws[i])
        px, py, pw = p * x, p * y, p * w
        xx, xy, x1, xw = xx + px * x, xy + px * y, x1 + px, xw + px * w
        yy, y1, yw = yy + py * y, y1 + py, yw + py * w
        total, total_w = total + p, total_w + pw
    sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3] = xx, xy, x1, xw
    sums[1, 0], sums[1, 1], sums[1, 2], sums[1, 3] = xy, yy, y1, yw
    sums[2, 0], sums[2, 1], sums[2, 2], sums[2, 3] = x1, y1, total, total_w


@compiled
def find_road(  # type: ignore[no-untyped-def]
    plane, scaled, inv_depth, certain, limits, road
):
    """Set ``road`` to where the network, and what is measured, agree with the plane of the road.

    Args:
        plane: its inverse depth.
        scaled: inverse depth of the network, in the same unit.
        inv_depth: of the state.
        certain: where that is measured.
        limits: least inverse depth of the road, least and most ratio of it to the network's, and
            most relative difference of the state.
        road: set.
    """
    near, low, high, agrees = limits
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            p, n = plane[y, x], scaled[y, x]
            is_like = (p > near) & (p > low * n) & (p < high * n)
            differs = certain[y, x] & (abs(inv_depth[y, x] - p) > agrees * p)
            road[y, x] = is_like & (not differs)


@compiled
def mark_road(inv_depth, plane, agrees, road):  # type: ignore[no-untyped-def]
    """Set ``road`` (uint8) to 1 where an inverse depth is that of the plane, below the horizon."""
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            p = plane[y, x]
            road[y, x] = (p > np.float32(0)) & (abs(inv_depth[y, x] - p) < agrees * p)


@compiled
def find_floating(  # type: ignore[no-untyped-def]
    inv_depth, plane, road, y_slopes, limits, floating
):
    """Set ``floating`` to where a point is nearer than road below it in the same column.

    Args:
        inv_depth: of the points.
        plane: inverse depth of the road.
        road: (h, w) uint8, not 0 where it is seen.
        y_slopes: of the rays.
        limits: factor by which it is nearer, and least slope of its ray.
        floating: set.
    """
    height, width = plane.shape
    nearer, below = limits
    farthest = np.full(width, np.float32(np.inf))
    for y in range(height - 1, -1, -1):
        is_below = y_slopes[y, 0] > below
        for x in range(width):
            p = plane[y, x]
            farthest[x] = min(farthest[x], p) if road[y, x] != 0 else farthest[x]
        for x in range(width):
            floating[y, x] = is_below & (inv_depth[y, x] > nearer * farthest[x])
