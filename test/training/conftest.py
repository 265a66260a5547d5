"""Fixtures of the training tests, most of them for modules that skip themselves without torch."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is not None:  # else the test modules skip themselves
    import torch
    from training_runs import RECIPE
    from wall import wall_frames as frames_of_wall

    from training.config import load_config
    from training.data.batcher import Batcher, build_batcher
    from training.data.sequence import PreparedFrame, PreparedSet
    from training.preparation.writer import PreparedWriter

    # The tensors of the tests are small, and threads wait for each other on a busy machine.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def wall_frames() -> Callable[..., Iterator[PreparedFrame]]:
    """``wall_frames(count, width, height, ground_truth, K)`` yields frames of the wall."""
    return frames_of_wall


@pytest.fixture(scope="session")
def wall_set(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """A prepared set of two recordings of 40 frames 64x64 along the wall, with depth and poses."""
    writer = PreparedWriter(tmp_path_factory.mktemp("wall"), 64, 64)
    for recording in range(2):
        frames = frames_of_wall(40)
        writer.add(f"recording{recording}", frames, "closed form", camera_height_m=1.65)
    return writer.finish()


@pytest.fixture(scope="session")
def wall_batcher(wall_set: PreparedSet) -> Batcher:
    """Batches of ``wall_set`` with the default augmentation; the last fifth is held out."""
    config = {"width": 64, "height": 64, "data": {"prepared": ["wall"], "validation_ratio": 0.2}}
    return build_batcher(load_config(config), [wall_set])


@pytest.fixture
def recipe(tmp_path: Path, wall_set: PreparedSet, keep_process_state: None) -> Path:
    """A small recipe over the wall, as a file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(prepared=wall_set.path))
    return path


@pytest.fixture
def keep_process_state() -> Iterator[None]:
    """Restores the signal handlers and the number of threads, which train.main sets."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for number, handler in handlers.items():
        signal.signal(number, handler)
