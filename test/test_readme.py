"""The README tells the ground truth about what can be checked: parameters, files, options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfm_ros.cli.demo import parse
from sfm_ros.config import iter_fields

BEGIN, END = "<!-- parameters: begin -->", "<!-- parameters: end -->"


def parameter_table() -> str:
    rows = ["| parameter | default | live | |", "| --- | --- | --- | --- |"]
    for name, option, default in iter_fields():
        shown = str(default).lower() if isinstance(default, bool) else f"{default}"
        live = "yes" if option.metadata["live"] else ""
        rows.append(f"| `{name}` | `{shown}` | {live} | {option.metadata['description']} |")
    return "\n".join(rows)


@pytest.fixture
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def test_every_parameter_stands_in_the_readme_as_it_is(readme: str) -> None:
    table = readme[readme.index(BEGIN) + len(BEGIN) : readme.index(END)].strip()
    assert table == parameter_table(), f"put this table into README.md:\n{parameter_table()}"


def test_every_file_the_readme_names_is_there(readme: str, repository: Path) -> None:
    named = re.findall(r"(?<![\w/.])((?:scripts|docs|requirements|training|config|ros|benchmarks)"
                       r"/[\w./-]*\w)", readme)  # fmt: skip
    assert named
    assert [name for name in named if not (repository / name).exists()] == []


def test_every_option_of_the_demo_in_the_readme_exists(
    readme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    section = readme[readme.index("## Play your own data") : readme.index("## Install")]
    used = set(re.findall(r"--[a-z][a-z-]+", section))
    assert len(used) > 8 and used <= known
