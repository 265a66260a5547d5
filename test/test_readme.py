"""The README states what can be checked: files and options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfm_ros.cli.demo import parse


@pytest.fixture
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def test_named_files_exist(readme: str, repository: Path) -> None:
    folders = "scripts|docs|requirements|training|config|third_party|benchmarks"
    named = re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w)", readme)
    assert named
    assert [name for name in named if not (repository / name).exists()] == []


def test_pages_are_linked_at_the_top(readme: str, repository: Path) -> None:
    top = "\n".join(readme.splitlines()[:40])
    links = set(re.findall(r"\]\(([\w/]+\.md)\)", top))
    assert {"docs/architecture.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= links
    assert all((repository / link).is_file() for link in links)


def test_demo_options_exist(readme: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    section = readme[readme.index("## Play your own data") : readme.index("## Install")]
    used = set(re.findall(r"--[a-z][a-z-]+", section))
    assert len(used) > 8 and used <= known
