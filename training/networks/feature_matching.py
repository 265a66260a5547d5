"""The cells of one frame are searched for in another by what they look like.

Shape letters as in ``training/batch.py``; m places around a cell.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = (8, 2)
"""Columns to either side, and rows above and below, in which a cell is searched for."""
_SHARPNESS = 20.0
"""A match that is better by 0.1, as the cosine of descriptors, has the weight of e^2 others."""
_AROUND = 1.5
"""Cells from the mean of all matches to those that count for the flow."""
_LEAST_VARIANCE = 0.01
"""Cells squared; keeps the gradient of a standard deviation finite."""


class Flow(NamedTuple):
    """Where the cells of one frame are in another.

    Attributes:
        mean_b2hw: the flow, x first, from the first frame to the second, in cells.
        spread_b4hw: standard deviation of all matches, and of those around the flow.
        likely_bhwm: what each match is worth: of all rows in `REACH`, all columns there.
    """

    mean_b2hw: Tensor
    spread_b4hw: Tensor
    likely_bhwm: Tensor


def match(first_bchw: Tensor, second_bchw: Tensor) -> Flow:
    """Search for the cells of one frame around the same place of another.

    The mean of all matches is drawn towards the middle by those that are a little alike: that of
    the matches around it counts (mean shift, Comaniciu and Meer, PAMI 2002).

    Args:
        first_bchw, second_bchw: descriptors of length 1.
    """
    device = first_bchw.device.type
    if torch.is_autocast_enabled(device):  # half precision knows the place to a tenth of a cell
        with torch.autocast(device, enabled=False):
            return match(first_bchw.float(), second_bchw.float())
    alike = _SHARPNESS * products_around(first_bchw, second_bchw)
    places_2m = _offsets(alike)
    moments_m4 = torch.cat([places_2m, places_2m.square()]).T
    likely = alike.softmax(dim=-1)
    middle, spread = _mean_and_spread(likely @ moments_m4)
    # Less half the squared distance from the middle; what all matches have in common is left out.
    alike = alike + (middle @ places_2m - 0.5 * places_2m.square().sum(dim=0)) * _AROUND**-2
    mean, local_spread = _mean_and_spread(alike.softmax(dim=-1) @ moments_m4)
    spreads = torch.cat([spread, local_spread], dim=-1)
    return Flow(mean.permute(0, 3, 1, 2), spreads.permute(0, 3, 1, 2), likely)


def _mean_and_spread(moments_bhw4: Tensor) -> tuple[Tensor, Tensor]:
    mean, square = moments_bhw4.chunk(2, dim=-1)
    return mean, (F.relu(square - mean.square()) + _LEAST_VARIANCE).sqrt()


def products_around(first_bchw: Tensor, second_bchw: Tensor) -> Tensor:
    """Scalar products of each cell with the cells around in the other frame (b, h, w, m).

    Outside of the image they are 0. They are ordered by rows, see `REACH`.
    """
    height, width = first_bchw.shape[-2:]
    across, down = REACH
    rows, columns, wide = 2 * down + 1, 2 * across + 1, width + 2 * across + 1
    padded = F.pad(second_bchw, (across, across + 1, down, down)).transpose(1, 2)
    lines = [padded[:, i : i + height] for i in range(rows)]
    around = torch.cat([*lines[:-1], lines[-1][..., :-1]], dim=3)
    products = first_bchw.permute(0, 2, 3, 1) @ around
    # The cell in column i needs the products from i on. Read in lines that are longer by 1 than
    # they are, these are in the same place for all cells (Huang et al., Music Transformer, 2019).
    skewed = F.pad(products.flatten(2), (0, width)).unflatten(2, (width, rows, wide))
    return skewed[..., :columns].flatten(3)


def _offsets(like: Tensor) -> Tensor:
    """Columns and rows (2, m) from a cell to those that it is compared with."""
    x, y = (
        torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device) for reach in REACH
    )
    return torch.stack([x.repeat(len(y)), y.repeat_interleave(len(x))])
