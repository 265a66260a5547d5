"""The inner loops of the filter over time, compiled for the CPU.

Maps are (h, w) float32. A motion is given by the twelve numbers of [R | t] (3, 4), a camera by
(fx, fy, cx, cy), both float32.
"""

from __future__ import annotations

import numpy as np

from sfm_ros.depth.kernels import compiled


@compiled
def move_forward(inv_depth, motion, camera, step, nearest):  # type: ignore[no-untyped-def]
    """Raise ``nearest`` to the inverse depth of the points that are moved to its pixels.

    Args:
        inv_depth: of the older frame; every ``step``-th row and column is used.
        motion: from the older camera to the newer one.
        camera: of the full grid.
        step: pixels of the grid per pixel of ``nearest``.
        nearest: (h / step, w / step), 0 where no point is moved to.
    """
    height, width = inv_depth.shape
    rows, columns = nearest.shape
    m = motion
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    least, half, scale = np.float32(1e-3), np.float32(0.5), np.float32(1.0 / step)
    for row in range(0, height, step):
        y = (np.float32(row) - cy) / fy
        for column in range(0, width, step):
            x, w = (np.float32(column) - cx) / fx, inv_depth[row, column]
            z = max(m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * w, least)
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * w) / z * fx + cx
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * w) / z * fy + cy
            i, j = int(np.floor(v * scale + half)), int(np.floor(u * scale + half))
            if 0 <= i < rows and 0 <= j < columns:
                nearest[i, j] = max(nearest[i, j], w / z)


@compiled
def _inverse_depth_at(u, v, inv_depth, kinks):  # type: ignore[no-untyped-def]
    """Inverse depth at a pixel inside, of the nearest pixel where ``kinks`` is not 0."""
    height, width = inv_depth.shape
    half = np.float32(0.5)
    # Unsigned, they need no check for negative ones, which count from the end.
    i, j = np.uint64(v + half), np.uint64(u + half)
    if kinks[i, j] != 0:
        return inv_depth[i, j]
    i, j = np.uint64(min(int(v), height - 2)), np.uint64(min(int(u), width - 2))
    below, beside = i + np.uint64(1), j + np.uint64(1)
    s, t = u - np.float32(j), v - np.float32(i)
    top = inv_depth[i, j] + s * (inv_depth[i, beside] - inv_depth[i, j])
    low = inv_depth[below, j]
    low = low + s * (inv_depth[below, beside] - low)
    return top + t * (low - top)


@compiled
def find_surface(  # type: ignore[no-untyped-def]
    guess, inv_depth, kinks, motion, camera, steps, agrees, found, ratio, u, v, seen
):
    """Find the surface of the older frame that each pixel of the newer one shows.

    Args:
        guess: inverse depth in the newer frame to start from.
        inv_depth: of the older frame.
        kinks: (h, w) uint8, not 0 where it is not interpolated.
        motion: from the newer camera to the older one.
        camera: of the grid.
        steps: of the fixed-point search.
        agrees: relative size of its last step, up to which it has found one.
        found, ratio, u, v: set; inverse depth in the newer frame, its ratio to that in the older
            frame, and the pixel there.
        seen: (h, w) bool, set to whether a surface was found.
    """
    height, width = guess.shape
    m = motion
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    least, zero, one = np.float32(1e-3), np.float32(0), np.float32(1)
    enough = np.float32(0.1) * agrees
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    # Of the pixels of a row that are still searched, packed so that their loop is vectorized.
    columns, last, z, at_u, at_v = np.empty((5, width), np.float32)
    for row in range(height):
        y = (np.float32(row) - cy) / fy
        bx, by, bz = m[0, 1] * y + m[0, 2], m[1, 1] * y + m[1, 2], m[2, 1] * y + m[2, 2]
        for x in range(width):
            columns[x], last[x] = np.float32(x), guess[row, x]
        count = width
        for _ in range(steps):
            for i in range(count):
                slope, w = (columns[i] - cx) / fx, last[i]
                z[i] = max(m[2, 0] * slope + bz + m[2, 3] * w, least)
                share = one / z[i]
                at_u[i] = (m[0, 0] * slope + bx + m[0, 3] * w) * share * fx + cx
                at_v[i] = (m[1, 0] * slope + by + m[1, 3] * w) * share * fy + cy
            left = 0
            for i in range(count):
                at, w = np.uint64(columns[i]), last[i]
                is_seen, is_left = False, False
                if at_u[i] >= zero and at_v[i] >= zero and at_u[i] <= right and at_v[i] <= bottom:
                    w = _inverse_depth_at(at_u[i], at_v[i], inv_depth, kinks) * z[i]
                    change = abs(w - last[i])
                    is_seen, is_left = change < agrees * w, change >= enough * w
                found[row, at], ratio[row, at] = w, z[i]
                u[row, at], v[row, at], seen[row, at] = at_u[i], at_v[i], is_seen
                columns[left], last[left] = columns[i], w
                left += is_left
            count = left


@compiled
def sum_along(sums, feedback, total):  # type: ignore[no-untyped-def]
    """Set ``total`` to the sums along the first axis from both sides.

    Args:
        sums: (n, m), of each pixel.
        feedback: (n - 1, m), what is handed on from each row to the next.
        total: (n, m).
    """
    count, width = sums.shape
    for x in range(width):
        total[0, x] = sums[0, x]
    for row in range(1, count):
        for x in range(width):
            total[row, x] = sums[row, x] + feedback[row - 1, x] * total[row - 1, x]
    upward = sums[count - 1].copy()
    for row in range(count - 2, -1, -1):
        for x in range(width):
            upward[x] *= feedback[row, x]
        for x in range(width):
            total[row, x] += upward[x]
        for x in range(width):
            upward[x] += sums[row, x]
