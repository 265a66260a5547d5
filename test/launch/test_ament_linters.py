"""The linters of ROS, where they are installed; ruff covers the same rules everywhere else.

Both run with the style of this project instead of ament's: Google's docstrings, ruff's format.
"""

from __future__ import annotations

from pathlib import Path

import pytest

IGNORED = "E127,E203,E402,E704,W503"  # layout, which ruff decides
CONFIGURATION = f"[flake8]\nmax-line-length = 99\nextend-ignore = {IGNORED}\n"
EXEMPT = ["D105", "D107", "D403", "D417"]  # __init__, names such as RViz, obvious arguments


@pytest.fixture
def folders(repository: Path) -> list[str]:
    return [str(repository / name) for name in ("sfm_ros", "launch")]


def test_ament_flake8(folders: list[str], tmp_path: Path) -> None:
    linter = pytest.importorskip("ament_flake8.main", reason="ament_flake8 is not installed")
    configuration = tmp_path / "flake8.ini"
    configuration.write_text(CONFIGURATION)
    code, errors = linter.main_with_errors(argv=["--config", str(configuration), *folders])
    assert code == 0, errors


def test_ament_pep257(folders: list[str]) -> None:
    linter = pytest.importorskip("ament_pep257.main", reason="ament_pep257 is not installed")
    ignored = ["--add-ignore", *EXEMPT]
    assert linter.main(argv=[*folders, "--convention", "google", *ignored]) == 0
