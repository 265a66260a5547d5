"""Keeps the frames of the prepared sets for training: in mapped files, or on the device.

uint8 frames of 416x128 take 160 KB each: the 44 000 of all KITTI drives are 7 GB, which often fit
into a GPU's own memory. Batches are then gathered there and no image is ever transferred.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from sfm_ros.errors import ConfigError
from training.data.sequence import PreparedSet

AUTO_RATIO = 0.4
"""Fraction of a GPU's free memory the sets may take; networks and activations need the rest."""
CHUNK = 256
"""Frames transferred at once while the sets are loaded."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameStore:
    """Frames and depth of the prepared sets, all on one device.

    Attributes:
        frames_of_set: (N, H, W, 3) uint8 of each set.
        depth_of_set: (N, H, W) float16 meters of each set, 0 unknown; None if it has no depth.
    """

    frames_of_set: list[Tensor]
    depth_of_set: list[Tensor | None]

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self.frames_of_set[0].device

    def frames(self, starts: Sequence[tuple[int, int]], length: int) -> Tensor:
        """(b, length, H, W, 3) uint8: ``length`` frames from each (set, frame) on."""
        return torch.stack([self.frames_of_set[s][i : i + length] for s, i in starts])

    def depths(self, indices: Sequence[tuple[int, int]]) -> Tensor:
        """(b, 1, H, W) float16 meters of each (set, frame), 0 unknown."""
        return torch.stack([self._depth(s, i) for s, i in indices])

    def _depth(self, set_index: int, frame: int) -> Tensor:
        depth = self.depth_of_set[set_index]
        if depth is None:
            size = self.frames_of_set[set_index].shape[1:3]
            return torch.zeros((1, *size), dtype=torch.float16, device=self.device)
        return depth[frame : frame + 1]


def open_store(sets: Sequence[PreparedSet], device: torch.device, resident: str) -> FrameStore:
    """The store that ``data.resident`` asks for.

    Args:
        device: where the training runs.
        resident: ``auto`` (on a GPU, if the sets fit), ``never`` or ``always``.

    Raises:
        ConfigError: ``always``, but the sets do not fit.
    """
    if resident == "never" or (resident == "auto" and device.type != "cuda"):
        return mapped_store(sets)
    needed = sum(p.frames.nbytes + (0 if p.depth_m is None else p.depth_m.nbytes) for p in sets)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if resident == "auto" and needed > AUTO_RATIO * free:
        tqdm.write(
            f"the prepared sets ({needed / 1e9:.1f} GB) stay in host memory: {device} has "
            f"{free / 1e9:.1f} GB free, of which they may take {AUTO_RATIO:.0%}"
        )
        return mapped_store(sets)
    try:
        return resident_store(sets, device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ConfigError(
            f"the prepared sets need {needed / 1e9:.1f} GB on {device}, more than is free; set "
            "data.resident to auto or never"
        ) from error


def mapped_store(sets: Sequence[PreparedSet]) -> FrameStore:
    """Reads the mapped files; the system keeps what is used in memory."""
    depths = [None if p.depth_m is None else _mapped(p.depth_m) for p in sets]
    return FrameStore([_mapped(p.frames) for p in sets], depths)


def resident_store(sets: Sequence[PreparedSet], device: torch.device) -> FrameStore:
    """Copies all frames to a device."""
    count = sum(len(p.frames) for p in sets)
    with tqdm(total=count, unit="frame", desc=f"sets to {device}", disable=None) as progress:
        frames = [_copied(p.frames, device, progress) for p in sets]
    depths = [None if p.depth_m is None else _copied(p.depth_m, device) for p in sets]
    return FrameStore(frames, depths)


def _mapped(array: npt.NDArray) -> Tensor:
    with warnings.catch_warnings():
        # torch warns of read-only memory; the store never writes to it.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _copied(array: npt.NDArray, device: torch.device, progress: tqdm | None = None) -> Tensor:
    """A mapped array on the device, sent in parts: a whole one may be larger than main memory."""
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    result = torch.empty(array.shape, dtype=dtype, device=device)
    for begin in range(0, len(array), CHUNK):
        part = np.array(array[begin : begin + CHUNK])
        result[begin : begin + CHUNK] = torch.from_numpy(part)
        if progress is not None:
            progress.update(len(part))
    return result
