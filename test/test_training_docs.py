"""The commands on the pages about training have options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("page", ["experiments.md", "train_your_own.md"])
def test_options_in_commands_exist(page: str, repository: Path) -> None:
    """Of the programs in training/; their source declares them."""
    text = (repository / "docs" / page).read_text(encoding="utf-8")
    sources = [*(repository / "training").rglob("*.py"), *(repository / "sfm_ros").rglob("*.py")]
    declared = {o for path in sources for o in re.findall(r'"(--[\w-]+)"', path.read_text())}
    commands = re.findall(r"^(?:\$ )?python training/.*(?:\\\n.*)*", text, re.MULTILINE)
    used = {option for command in commands for option in re.findall(r"\s(--[\w-]+)", command)}
    assert commands and used <= declared
