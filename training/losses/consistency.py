"""Geometry consistency (Bian et al. 2019): the depths of two frames describe one scene.

Unsupervised Scale-consistent Depth and Ego-motion Learning from Monocular Video, NeurIPS 2019.
Without it, every image may have a scale of its own.
"""

from __future__ import annotations

from torch import Tensor


def depth_inconsistency(projected_bshw: Tensor, predicted_bshw: Tensor) -> Tensor:
    """``D_diff = |D^a_b - D'_b| / (D^a_b + D'_b)`` of Bian et al. eq. 5, in [0, 1).

    The ratio is the same for depths and for their inverses. The inverses are used because those
    of a plane are affine over the image, so that sampling between pixels is exact.

    Args:
        projected_bshw: inverse depth of the target's points in the source camera (D^a_b).
        predicted_bshw: inverse depth that the source's own prediction has there (D'_b).
    """
    return (projected_bshw - predicted_bshw).abs() / (projected_bshw + predicted_bshw)


def consistency_mask(inconsistency_bshw: Tensor) -> Tensor:
    """The self-discovered mask ``M = 1 - D_diff`` (Bian et al. eq. 7), in (0, 1].

    Moving objects and occluded points contradict the other frame's depth and so count for less.
    It carries no gradient: inconsistent depths must not lower a photometric error.
    """
    return 1 - inconsistency_bshw.detach()
