"""Where the frames of the prepared sets lie while training: in mapped files, or on the device.

uint8 frames of 416x128 take 160 KB each: the 44 000 of all KITTI drives are 7 GB, which a GPU's
own memory often holds. Then a batch is gathered there and no image is ever sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from sfm_ros.errors import ConfigError
from training.data.sequence import PreparedSet

AUTO_SHARE = 0.4
"""Share of the free memory of a GPU the sets may take; networks and activations need the rest."""
CHUNK = 256
"""Frames sent at once while the sets are being loaded."""


class MappedFrames:
    """Frames and depth read from the mapped files; the system keeps what is used in memory."""

    device = torch.device("cpu")

    def __init__(self, sets: Sequence[PreparedSet]) -> None:
        self._sets = list(sets)

    def frames(self, places: Sequence[tuple[int, int]], length: int) -> Tensor:
        """(b, length, H, W, 3) uint8: ``length`` frames from each (set, frame) on."""
        return torch.from_numpy(
            np.stack([self._sets[s].frames[i : i + length] for s, i in places])
        )

    def depths(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """(b, 1, H, W) float16 meters of each (set, frame), 0 unknown."""
        return torch.from_numpy(np.stack([self._depth(s, i) for s, i in places]))

    def _depth(self, set_index: int, frame: int) -> npt.NDArray[np.float16]:
        prepared = self._sets[set_index]
        if prepared.depth_m is None:
            return np.zeros((1, prepared.height, prepared.width), dtype=np.float16)
        return prepared.depth_m[frame : frame + 1]


class ResidentFrames:
    """The same from copies of all frames on one device."""

    def __init__(self, sets: Sequence[PreparedSet], device: torch.device) -> None:
        self.device = device
        count = sum(len(prepared.frames) for prepared in sets)
        with tqdm(total=count, unit="frame", desc=f"sets to {device}", disable=None) as progress:
            self._frames = [_copy(prepared.frames, device, progress) for prepared in sets]
        self._depths = [None if p.depth_m is None else _copy(p.depth_m, device) for p in sets]
        shape = (1, sets[0].height, sets[0].width)
        self._unknown = torch.zeros(shape, dtype=torch.float16, device=device)

    def frames(self, places: Sequence[tuple[int, int]], length: int) -> Tensor:
        """See `MappedFrames.frames`."""
        return torch.stack([self._frames[s][i : i + length] for s, i in places])

    def depths(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """See `MappedFrames.depths`."""
        return torch.stack([self._depth(s, i) for s, i in places])

    def _depth(self, set_index: int, frame: int) -> Tensor:
        depth = self._depths[set_index]
        return self._unknown if depth is None else depth[frame : frame + 1]


FrameStore = MappedFrames | ResidentFrames


def open_store(sets: Sequence[PreparedSet], device: torch.device, resident: str) -> FrameStore:
    """The store the option asks for.

    Args:
        device: where the training runs.
        resident: ``auto`` (on a GPU, where the sets fit), ``never`` or ``always``.

    Raises:
        ConfigError: ``always``, but the sets do not fit.
    """
    if resident == "never" or (resident == "auto" and device.type != "cuda"):
        return MappedFrames(sets)
    needed, room = _bytes(sets), _room(device)
    if resident == "auto" and needed > AUTO_SHARE * room:
        tqdm.write(
            f"the prepared sets ({needed / 1e9:.1f} GB) stay in the computer's memory: {device} "
            f"has {room / 1e9:.1f} GB free, of which they may take {AUTO_SHARE:.0%}"
        )
        return MappedFrames(sets)
    try:
        return ResidentFrames(sets, device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ConfigError(
            f"the prepared sets need {needed / 1e9:.1f} GB on {device}, more than is free; set "
            "data.resident to auto or never"
        ) from error


def _bytes(sets: Sequence[PreparedSet]) -> int:
    return sum(p.frames.nbytes + (0 if p.depth_m is None else p.depth_m.nbytes) for p in sets)


def _room(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _copy(array: npt.NDArray, device: torch.device, progress: tqdm | None = None) -> Tensor:
    """A mapped array on the device, sent in parts: a whole one may be larger than main memory."""
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    result = torch.empty(array.shape, dtype=dtype, device=device)
    for begin in range(0, len(array), CHUNK):
        part = np.array(array[begin : begin + CHUNK])
        result[begin : begin + CHUNK] = torch.from_numpy(part)
        if progress is not None:
            progress.update(len(part))
    return result
