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
    least, half, zero = np.float32(1e-3), np.float32(0.5), np.float32(0)
    enough, one = np.float32(0.1) * agrees, np.float32(1)
    last_column, last_row = np.float32(width - 1), np.float32(height - 1)
    for row in range(height):
        y = (np.float32(row) - cy) / fy
        for column in range(width):
            x, w = (np.float32(column) - cx) / fx, guess[row, column]
            ax = m[0, 0] * x + m[0, 1] * y + m[0, 2]
            ay = m[1, 0] * x + m[1, 1] * y + m[1, 2]
            az = m[2, 0] * x + m[2, 1] * y + m[2, 2]
            z, at_u, at_v, change = least, zero, zero, w
            is_inside = False
            for _ in range(steps):
                z = max(az + m[2, 3] * w, least)
                share = one / z
                at_u = (ax + m[0, 3] * w) * share * fx + cx
                at_v = (ay + m[1, 3] * w) * share * fy + cy
                is_inside = (
                    at_u >= zero and at_v >= zero and at_u <= last_column and at_v <= last_row
                )
                if not is_inside:
                    break
                i, j = int(at_v + half), int(at_u + half)
                before = inv_depth[i, j]
                if kinks[i, j] == 0:
                    i, j = min(int(at_v), height - 2), min(int(at_u), width - 2)
                    s, t = at_u - np.float32(j), at_v - np.float32(i)
                    top = inv_depth[i, j] + s * (inv_depth[i, j + 1] - inv_depth[i, j])
                    low = inv_depth[i + 1, j]
                    low = low + s * (inv_depth[i + 1, j + 1] - low)
                    before = top + t * (low - top)
                change = before * z - w
                w = before * z
                if abs(change) < enough * w:
                    break
            found[row, column], ratio[row, column] = w, z
            u[row, column], v[row, column] = at_u, at_v
            seen[row, column] = is_inside and abs(change) < agrees * w


@compiled
def sum_along(sums, feedback, total):  # type: ignore[no-untyped-def]
    """Set ``total`` to the sums along the first axis from both sides.

    Args:
        sums: (n, m, 2), of each pixel.
        feedback: (n - 1, m), what is handed on from each row to the next.
        total: (n, m, 2).
    """
    count, width = sums.shape[0], sums.shape[1]
    for x in range(width):
        for c in range(2):
            total[0, x, c] = sums[0, x, c]
    for row in range(1, count):
        for x in range(width):
            share = feedback[row - 1, x]
            total[row, x, 0] = sums[row, x, 0] + share * total[row - 1, x, 0]
            total[row, x, 1] = sums[row, x, 1] + share * total[row - 1, x, 1]
    upward = sums[count - 1].copy()
    for row in range(count - 2, -1, -1):
        for x in range(width):
            share = feedback[row, x]
            for c in range(2):
                upward[x, c] = share * upward[x, c]
                total[row, x, c] += upward[x, c]
                upward[x, c] += sums[row, x, c]
