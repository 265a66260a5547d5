"""View synthesis by inverse warping. The only caller of ``grid_sample`` in the project."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.geometry.camera import inverse_intrinsics, pixel_grid

_MIN_RELATIVE_DEPTH = 1e-3
"""Source depth / target depth below which a point counts as behind the camera."""


@dataclass(frozen=True, slots=True)
class Projection:
    """The points of the target's pixels in the source camera.

    Attributes:
        u_bhw, v_bhw: pixels of the source grid.
        ahead_bhw: bool, the point is in front of the source camera.
        inv_depth_bhw: 1 / depth of the point along the z axis of the source camera.
    """

    u_bhw: Tensor
    v_bhw: Tensor
    ahead_bhw: Tensor
    inv_depth_bhw: Tensor

    @torch.no_grad()
    def valid(self) -> Tensor:
        """(b, 1, h, w) bool: in front of the source camera and inside its image."""
        height, width = self.u_bhw.shape[-2:]
        inside_u = (self.u_bhw >= 0) & (self.u_bhw <= width - 1)
        inside_v = (self.v_bhw >= 0) & (self.v_bhw <= height - 1)
        return (inside_u & inside_v & self.ahead_bhw).unsqueeze(1)

    def sample(self, image_source_bchw: Tensor) -> Tensor:
        """Bilinear samples (b, c, h, w) of the source at these points, its border repeated."""
        # On a CPU, the gradient at a NaN coordinate reads memory out of bounds. Networks that have
        # diverged produce such coordinates; their gradient is NaN regardless.
        u, v = (
            pixel.nan_to_num(nan=-1.0, posinf=torch.inf, neginf=-torch.inf)
            for pixel in (self.u_bhw, self.v_bhw)
        )
        return sample_bilinear(image_source_bchw, u, v)


def sample_bilinear(image_bchw: Tensor, u_bij: Tensor, v_bij: Tensor) -> Tensor:
    """Samples (b, c, i, j) of images at pixels, their border repeated."""
    height, width = image_bchw.shape[-2:]
    # grid_sample takes coordinates divided by the image size. On a canvas whose sides are powers
    # of two this division is exact, so that integer pixels stay integer.
    canvas_height, canvas_width = (1 << (size - 1).bit_length() for size in (height, width))
    extra = (0, canvas_width - width, 0, canvas_height - height)
    canvas = F.pad(image_bchw, extra, mode="replicate")
    x = (2 * u_bij + 1) * (1 / canvas_width) - 1
    y = (2 * v_bij + 1) * (1 / canvas_height) - 1
    grid = torch.stack([x, y], dim=-1)
    return F.grid_sample(canvas, grid, mode="bilinear", padding_mode="border", align_corners=False)


def warp_sources(
    sources_bschw: Tensor, depth_b1hw: Tensor, T_source_target_bs44: Tensor, K_b33: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The sources as the target camera would see them.

    Zhou et al. eq. 2, ``p_s ~ K T_source_target D(p_t) K^-1 p_t``, followed by bilinear sampling
    of each source at ``p_s``. No motion returns the source bit for bit.

    Args:
        sources_bschw: source images, any channels.
        depth_b1hw: depth of the target along +z, > 0, in units of the translation.
        T_source_target_bs44: maps target coordinates into each source camera.
        K_b33: intrinsics of this grid, pixels, the same for all images.

    Returns:
        The warped images (b, s, c, h, w), which repeat the border outside of a source; their
        validity (b, s, h, w), bool: the point is in front of the source camera and inside its
        image; and the inverse depth (b, s, h, w) of the points in the source camera. Computed in
        float32 (float64 for float64 images), regardless of autocast.
    """
    batch, sources = sources_bschw.shape[:2]
    dtype = torch.float64 if sources_bschw.dtype == torch.float64 else torch.float32
    with torch.autocast(device_type=sources_bschw.device.type, enabled=False):
        projection = project_target(
            depth_b1hw.to(dtype).repeat_interleave(sources, dim=0),
            T_source_target_bs44.to(dtype).flatten(0, 1),
            K_b33.to(dtype).repeat_interleave(sources, dim=0),
        )
        warped = projection.sample(sources_bschw.to(dtype).flatten(0, 1))
    shape = (batch, sources, *depth_b1hw.shape[-2:])
    return (
        warped.view(sources_bschw.shape),
        projection.valid().view(shape),
        projection.inv_depth_bhw.view(shape),
    )


def project_target(depth_b1hw: Tensor, T_source_target_b44: Tensor, K_b33: Tensor) -> Projection:
    """Project every target pixel into the source camera; all arguments of one dtype.

    Written as a displacement of the homogeneous pixel, divided by its depth:
    ``p_s ~ p_t + K (R - I) K^-1 p_t + K t / D``. The two matrices are computed once per
    image, and no motion leaves the pixel in place without a rounding error.

    Args:
        depth_b1hw: depth of the target along +z, > 0.
        T_source_target_b44: maps target coordinates into the source camera.
        K_b33: intrinsics of this grid, pixels, shared by the two images.
    """
    batch, _, height, width = depth_b1hw.shape
    T = T_source_target_b44
    grid = pixel_grid(height, width, device=depth_b1hw.device, dtype=depth_b1hw.dtype)
    identity = torch.eye(3, device=T.device, dtype=T.dtype)
    rotation_b33 = K_b33 @ (T[:, :3, :3] - identity) @ inverse_intrinsics(K_b33)
    translation_b31 = K_b33 @ T[:, :3, 3:]

    inv_depth = depth_b1hw.flatten(2).reciprocal()
    moved = grid + (rotation_b33 @ grid + translation_b31 * inv_depth)
    x, y, z = moved.view(batch, 3, height, width).unbind(1)
    # z is the depth in the source camera over the depth in the target camera.
    inverse_z = z.clamp(min=_MIN_RELATIVE_DEPTH).reciprocal()
    return Projection(
        u_bhw=x * inverse_z,
        v_bhw=y * inverse_z,
        ahead_bhw=z.detach() > _MIN_RELATIVE_DEPTH,
        inv_depth_bhw=inverse_z * inv_depth.view(batch, height, width),
    )
