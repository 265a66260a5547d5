"""What several test folders share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bag_recorder import Recorder
from bundles import MakeBundle, write_bundle

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("SFM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder} (set SFM_SHARED_DATA to its folder)")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests run only when asked for."""
    if os.environ.get("SFM_SLOW_TESTS") == "1":
        return
    skip = pytest.mark.skip(reason="slow; set SFM_SLOW_TESTS=1 to run it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def new_bag(tmp_path: Path) -> Callable[..., Recorder]:
    """Makes the recorder of a new bag: ``new_bag(kind, name, compression)``."""

    def make(kind: str = "mcap", name: str = "bag", compression: object = None) -> Recorder:
        return Recorder(tmp_path / name, kind, compression)

    return make


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a bundle of windows of three that always answers with this depth and T_prev_curr."""
    return lambda depth, T_prev_curr: write_bundle(tmp_path / "bundle", depth, T_prev_curr)
