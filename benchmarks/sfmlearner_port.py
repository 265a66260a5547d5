"""The public PyTorch port of SfMLearner as a baseline of the training throughput."""

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

WORKERS = 4
"""The default of the program."""
DISPLAY = ("blessings", "progressbar", "tensorboardX", "utils")


def port_training(
    checkout: Path, prepared: PreparedSet, size: int, work: Path
) -> Callable[[int], float]:
    """Its networks, its loader with its workers, and its function ``train``.

    Returns:
        A function that does this many steps and returns the seconds spent waiting for data.
    """
    program = import_port(checkout)
    transforms, models = program.custom_transforms, program.models
    from datasets.sequence_folders import SequenceFolder  # type: ignore[import-not-found]

    chain = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomScaleCrop(),
            transforms.ArrayToTensor(),
            transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
        ]
    )
    folder = write_images(prepared, work / "port")
    frames = SequenceFolder(str(folder), transform=chain, seed=0, train=True, sequence_length=3)
    loader = torch.utils.data.DataLoader(
        frames, batch_size=size, shuffle=True, num_workers=WORKERS, pin_memory=True
    )
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
        log_full="port.csv",
    )
    waiting = _Waiting(loader)

    def train(steps: int) -> float:
        before = waiting.seconds
        screen = mock.MagicMock()
        program.train(settings, waiting, depth, pose, optimizer, steps, screen, screen)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return waiting.seconds - before

    return train


class _Waiting:
    """Batches of a loader that is never restarted, and the seconds spent waiting for them."""

    def __init__(self, loader: torch.utils.data.DataLoader) -> None:
        self._batches = self._endless(loader)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            started = time.perf_counter()
            batch = next(self._batches)
            self.seconds += time.perf_counter() - started
            yield batch

    @staticmethod
    def _endless(loader: torch.utils.data.DataLoader) -> Iterator[Any]:
        while True:
            yield from loader


def import_port(checkout: Path) -> Any:
    """Its module ``train``; modules that only draw and print are mocked."""
    if not (checkout / "train.py").is_file() or not (checkout / "inverse_warp.py").is_file():
        raise SourceError(
            f"{checkout} is not a checkout of SfmLearner-Pytorch: it has no train.py"
        )
    sys.modules.update({name: mock.MagicMock() for name in DISPLAY})
    sys.path.insert(0, str(checkout))
    try:
        import train  # type: ignore[import-not-found]
    except ImportError as error:
        raise SourceError(
            f"{checkout} cannot be imported: {error}; pip install imageio path scikit-image"
        ) from error
    return train


def write_images(prepared: PreparedSet, folder: Path) -> Path:
    """The set in its format: JPEG files and a calibration, one folder per sequence."""
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
    # Repeated, so that its workers are not restarted within the measurement.
    repeats = 1 + 20_000 // len(prepared.frames)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names * repeats))
    return folder
