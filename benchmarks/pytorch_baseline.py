"""The public PyTorch port of SfMLearner, as a baseline for the speed of training.

Its own networks, losses, loader and training step run as they are.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch

from sfm_ros.errors import SourceError
from training.data.sequence import PreparedSet

_WORKERS = 4
"""Its default."""
_DISPLAYS = ("blessings", "progressbar", "tensorboardX", "utils")


def baseline(
    checkout: Path, prepared: PreparedSet, size: int, work: Path
) -> Callable[[int], float]:
    """Makes this many steps of its training, and returns the seconds spent waiting for data.

    Args:
        checkout: of the program.
        prepared: the images.
        size: batch size.
        work: folder for its files.
    """
    program = import_program(checkout)
    waiting = _Waiting(_loader(program, write_images(prepared, work / "baseline"), size))
    train_steps = _training(program, size, work)

    def train(steps: int) -> float:
        before = waiting.seconds
        train_steps(waiting, steps)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return waiting.seconds - before

    return train


def _loader(program: Any, folder: Path, size: int) -> torch.utils.data.DataLoader:
    transforms = program.custom_transforms
    from datasets.sequence_folders import SequenceFolder  # type: ignore[import-not-found]

    chain = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomScaleCrop(),
            transforms.ArrayToTensor(),
            transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
        ]
    )
    frames = SequenceFolder(str(folder), transform=chain, seed=0, train=True, sequence_length=3)
    return torch.utils.data.DataLoader(
        frames, batch_size=size, shuffle=True, num_workers=_WORKERS, pin_memory=True
    )


def _training(program: Any, size: int, work: Path) -> Callable[[Any, int], None]:
    """Its function ``train`` on its networks: makes this many steps on the batches of a loader."""
    models = program.models
    torch.manual_seed(0)
    depth = models.DispNetS().to(program.device)
    pose = models.PoseExpNet(nb_ref_imgs=2, output_exp=True).to(program.device)
    depth.init_weights()
    pose.init_weights()
    depth, pose = torch.nn.DataParallel(depth), torch.nn.DataParallel(pose)
    groups = [{"params": network.parameters(), "lr": 2e-4} for network in (depth, pose)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), weight_decay=0)
    settings = Namespace(
        photo_loss_weight=1.0,
        mask_loss_weight=0.2,
        smooth_loss_weight=0.1,
        rotation_mode="euler",
        padding_mode="zeros",
        print_freq=10,
        training_output_freq=0,
        batch_size=size,
        save_path=work,
        log_full="baseline.csv",
    )
    screen = mock.MagicMock()

    def train_steps(loader: Any, steps: int) -> None:
        program.train(settings, loader, depth, pose, optimizer, steps, screen, screen)

    return train_steps


class _Waiting:
    """Endless batches of a loader, and the seconds spent waiting for them."""

    def __init__(self, loader: torch.utils.data.DataLoader) -> None:
        self._batches = self._endless(loader)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            batch = next(self._batches)
            self.seconds += time.perf_counter() - start
            yield batch

    @staticmethod
    def _endless(loader: torch.utils.data.DataLoader) -> Iterator[Any]:
        while True:
            yield from loader


def import_program(checkout: Path) -> Any:
    """Its module ``train``; modules that only draw and print are replaced by mocks."""
    if not (checkout / "train.py").is_file() or not (checkout / "inverse_warp.py").is_file():
        raise SourceError(
            f"{checkout} is not a checkout of SfmLearner-Pytorch: it has no train.py"
        )
    sys.modules.update({name: mock.MagicMock() for name in _DISPLAYS})
    sys.path.insert(0, str(checkout))
    try:
        import train  # type: ignore[import-not-found]
    except ImportError as error:
        raise SourceError(
            f"{checkout} cannot be imported: {error}; pip install imageio path scikit-image"
        ) from error
    return train


def write_images(prepared: PreparedSet, folder: Path) -> Path:
    """Write the set in its format: JPEG files and a calibration, one folder per sequence."""
    names = []
    for record in prepared.sequences:
        scene = folder / record.name.replace("/", "_")
        scene.mkdir(parents=True)
        for number in range(record.count):
            image = np.ascontiguousarray(prepared.frames[record.start + number, :, :, ::-1])
            cv2.imwrite(str(scene / f"{number:07d}.jpg"), image)
        fx, fy, cx, cy = record.K
        (scene / "cam.txt").write_text(f"{fx} 0 {cx}\n0 {fy} {cy}\n0 0 1\n")
        names.append(scene.name)
    # Repeated, so that its workers are not started again within the measurement.
    repeats = 1 + 20_000 // len(prepared.frames)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names * repeats))
    return folder
