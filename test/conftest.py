"""Fixtures of several test folders."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bag_recorder import Recorder
    from bundles import MakeBundle

REPOSITORY = Path(__file__).resolve().parents[1]
# As "pythonpath" in pyproject.toml, which the pytest of Ubuntu 22.04 (ROS 2 Humble) does not know.
for folder in (REPOSITORY, REPOSITORY / "test" / "helpers"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the cache of whoever runs the tests out of them, and them out of it."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let programs that tests start be interrupted: they inherit it if SIGINT is ignored here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _data_folder() -> Path:
    """Where the real data sets are, if they are there."""
    return Path(os.environ.get("SFM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; the test is skipped if it is absent."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder} (set SFM_SHARED_DATA to its folder)")
    return folder


@pytest.fixture
def case() -> Callable[[str], Path]:
    """Finds an input in the folder of cases; the test is skipped if it is absent."""

    def find(name: str) -> Path:
        path = _data_folder().parent / "cases" / name
        if not path.exists():
            pytest.skip(f"the recordings of others are not at {path.parent}")
        return path

    return find


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless SFM_SLOW_TESTS=1."""
    if os.environ.get("SFM_SLOW_TESTS") == "1":
        return
    skip = pytest.mark.skip(reason="slow; set SFM_SLOW_TESTS=1 to run it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def new_bag(tmp_path: Path) -> Callable[..., Recorder]:
    """Creates the recorder of a new bag: ``new_bag(kind, name, compression)``."""
    from bag_recorder import Recorder

    def make(kind: str = "mcap", name: str = "bag", compression: object = None) -> Recorder:
        return Recorder(tmp_path / name, kind, compression)

    return make


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a bundle (windows of three frames) with a constant depth and T_prev_curr."""
    from bundles import write_bundle

    return lambda depth, T_prev_curr: write_bundle(tmp_path / "bundle", depth, T_prev_curr)
