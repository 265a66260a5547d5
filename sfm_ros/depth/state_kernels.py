"""The arithmetic of the filter over time, pixel by pixel, compiled for the CPU.

Maps are (h, w), float32 or bool, and so are numbers. A loop over a row writes one array: that it
overlaps no other is checked at run time for a few only, and a loop is vectorized only with that.
Exponentials and logarithms are left to numpy, which vectorizes them.
"""

from __future__ import annotations

import numpy as np

from sfm_ros.depth.kernels import compiled


@compiled
def invert(depth, inv_depth, invalid):  # type: ignore[no-untyped-def]
    """Set the inverse of a depth, and where that is not finite and positive: it is 1 there."""
    height, width = depth.shape
    zero, one, infinite = np.float32(0), np.float32(1), np.float32(np.inf)
    for y in range(height):
        for x in range(width):
            invalid[y, x] = not ((depth[y, x] > zero) & (depth[y, x] < infinite))
        for x in range(width):
            d = depth[y, x]
            inv_depth[y, x] = one / (d if (d > zero) & (d < infinite) else one)


@compiled
def carry(  # type: ignore[no-untyped-def]
    state, moved, known, guess, noise, new_inlier, memory, carried
):
    """Carry a state along to the pixels of the next frame.

    Args:
        state: variance, probability of an inlier, and share of measurements, of the older frame.
        moved: inverse depth in the newer frame, its ratio to that in the older one, and the pixel
            u, v there, see `filter_kernels.find_surface`.
        known: where that holds.
        guess: inverse depth elsewhere.
        noise: variance that the motion adds, relative to the square of the inverse depth.
        new_inlier: probability where nothing is known.
        memory: factor of the share.
        carried: set; inverse depth, and the three maps of ``state``.
    """
    variance, inlier, measured = state
    inv_depth, ratio, u, v = moved
    new_inv_depth, new_variance, inliers, new_measured = carried
    height, width = guess.shape
    half, zero = np.float32(0.5), np.float32(0)
    for y in range(height):
        for x in range(width):
            if known[y, x]:
                i, j = np.uint64(v[y, x] + half), np.uint64(u[y, x] + half)
                w, square = inv_depth[y, x], ratio[y, x] * ratio[y, x]
                new_inv_depth[y, x] = w
                # w = w' z' with z' = r + t w', so that dw'/dw = z'^2 / r, and r is about 1.
                new_variance[y, x] = variance[i, j] * (square * square) + noise * (w * w)
                inliers[y, x], new_measured[y, x] = inlier[i, j], memory * measured[i, j]
            else:
                new_inv_depth[y, x], new_variance[y, x] = guess[y, x], zero
                inliers[y, x], new_measured[y, x] = new_inlier, zero


@compiled
def draw(  # type: ignore[no-untyped-def]
    inv_depth, variance, known, prior, relative_sigma, gain, tiny, drawn, new_variance
):
    """Draw a state toward a prior, see `filter.draw_toward`; the last two are set."""
    height, width = inv_depth.shape
    share, one = np.empty(width, np.float32), np.float32(1)
    for y in range(height):
        for x in range(width):
            sigma, s = relative_sigma[y, x] * prior[y, x], variance[y, x]
            part = gain[y, x] * s / (s + sigma * sigma + tiny)
            share[x] = part if known[y, x] else one
        for x in range(width):
            sigma = share[x] * (relative_sigma[y, x] * prior[y, x])
            sigma += (one - share[x]) * np.sqrt(variance[y, x])
            new_variance[y, x] = sigma * sigma
        for x in range(width):
            w = inv_depth[y, x]
            drawn[y, x] = w + share[x] * (prior[y, x] - w)


@compiled
def innovate(  # type: ignore[no-untyped-def]
    state, found, valid, limits, variance, exponent
):
    """Set the variance before a measurement, and the exponent of its normal distribution.

    Args:
        state: inverse depth, its variance, and share of measurements.
        found: inverse depth and its standard deviation.
        valid: where it counts.
        limits: share of measurements below which it is the first, the relative standard deviation
            of the state before it, the factor of the standard deviation, and a least variance.
        variance, exponent: set.
    """
    inv_depth, before, measured = state
    measurement, sigma = found
    least_measured, first, correlation, tiny = limits
    height, width = inv_depth.shape
    half = np.float32(0.5)
    for y in range(height):
        for x in range(width):
            doubt, s = first * inv_depth[y, x], before[y, x]
            is_new = valid[y, x] & (measured[y, x] < least_measured)
            variance[y, x] = max(s, doubt * doubt) if is_new else s
        for x in range(width):
            noise, off = correlation * sigma[y, x], measurement[y, x] - inv_depth[y, x]
            exponent[y, x] = -half * (off * off) / (variance[y, x] + noise * noise + tiny)


@compiled
def find_inliers(  # type: ignore[no-untyped-def]
    variance, inlier, density, sigma, valid, limits, posterior
):
    """Set the probability that a measurement is no outlier, 0 where it does not count.

    Args:
        variance: of the state.
        inlier: that probability before the measurement.
        density: exponential of the exponent of `innovate`.
        sigma: standard deviation of the measurement.
        valid: where it counts.
        limits: factor of that standard deviation, least variance, and density of the outliers.
        posterior: set.
    """
    height, width = variance.shape
    correlation, tiny, outliers = limits
    zero, one, circle = np.float32(0), np.float32(1), np.float32(2 * np.pi)
    for y in range(height):
        for x in range(width):
            noise, before = correlation * sigma[y, x], inlier[y, x]
            total = variance[y, x] + noise * noise + tiny
            good = before * (density[y, x] / np.sqrt(circle * total))
            r = good / (good + (one - before) * outliers)
            posterior[y, x] = r if valid[y, x] else zero


@compiled
def update_inlier(inlier, r, is_measured, limits, updated):  # type: ignore[no-untyped-def]
    """Set ``updated`` to the running mean of the probability r where something is measured.

    ``limits`` are the share that the mean keeps, and its least and most.
    """
    memory, least, most = limits
    height, width = inlier.shape
    fresh = np.float32(1) - memory
    for y in range(height):
        for x in range(width):
            before = inlier[y, x]
            after = min(max(memory * before + fresh * r[y, x], least), most)
            updated[y, x] = after if is_measured[y, x] else before


@compiled
def correct(  # type: ignore[no-untyped-def]
    state, found, r, again, limits, inv_depth, variance
):
    """Set a state to that after a measurement, see `filter.correct`.

    Args:
        state: inverse depth and variance before.
        found: inverse depth and its standard deviation.
        r: probability that it is no outlier.
        again: where the state starts again from it.
        limits: factor of the standard deviation, least variance, least relative one.
        inv_depth, variance: set.
    """
    mean, before = state
    measurement, sigma = found
    correlation, tiny, floor = limits
    height, width = mean.shape
    one, two = np.float32(1), np.float32(2)
    for y in range(height):
        for x in range(width):
            noise, off = correlation * sigma[y, x], measurement[y, x] - mean[y, x]
            gain = before[y, x] / (before[y, x] + noise * noise + tiny)
            w = mean[y, x] + r[y, x] * gain * off
            inv_depth[y, x] = measurement[y, x] if again[y, x] else w
        for x in range(width):
            noise, off = correlation * sigma[y, x], measurement[y, x] - mean[y, x]
            gain, p = before[y, x] / (before[y, x] + noise * noise + tiny), r[y, x]
            spread, twice = gain * off, two * sigma[y, x]
            s = (one - p * gain) * before[y, x] + p * (one - p) * (spread * spread)
            s = twice * twice + noise * noise if again[y, x] else s
            least = floor * inv_depth[y, x]
            variance[y, x] = max(s, least * least)


@compiled
def publish(  # type: ignore[no-untyped-def]
    inv_depth, variance, extent, invalid, edge_share, depth, uncertainty
):
    """Set the depth and its relative standard deviation, NaN where invalid.

    ``extent`` is the range of the inverse depth around a pixel, of which ``edge_share`` counts.
    """
    height, width = inv_depth.shape
    one, unknown = np.float32(1), np.float32(np.nan)
    for y in range(height):
        for x in range(width):
            d = one / inv_depth[y, x]
            depth[y, x] = unknown if invalid[y, x] else d
        for x in range(width):
            edge = edge_share * extent[y, x]
            sigma = np.sqrt(variance[y, x] + edge * edge) / inv_depth[y, x]
            uncertainty[y, x] = unknown if invalid[y, x] else sigma
