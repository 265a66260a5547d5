"""The commands in the fenced blocks of the documentation, with the output shown below them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BETWEEN = {"&&", ";", "||"}


@dataclass(frozen=True)
class FencedCommand:
    """One command, as a reader would type it.

    Attributes:
        page: file, relative to the repository.
        line: number in that file, of its first line.
        text: of the whole line, with its continuation.
        words: as the shell splits them, for each of the commands on the line.
        output: lines that the page shows below it; empty if it shows none.
    """

    page: str
    line: int
    text: str
    words: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages(repository: Path) -> list[Path]:
    """The pages with commands, in the order in which a reader meets them."""
    first = [repository / name for name in ("README.md", "CONTRIBUTING.md")]
    return [*first, *sorted((repository / "docs").rglob("*.md"))]


def commands(repository: Path) -> list[FencedCommand]:
    """All commands of all pages, in order."""
    return [command for page in pages(repository) for command in commands_of(page, repository)]


def commands_of(page: Path, repository: Path) -> Iterator[FencedCommand]:
    """The commands of a page: lines of ``bash`` blocks, and of transcripts those after ``$``."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(repository).as_posix()
    for fence in _FENCE.finditer(text):
        language, body = fence.groups()
        if language not in ("", "bash"):
            continue
        first = text.count("\n", 0, fence.start(2)) + 1
        is_transcript = body.startswith("$ ")
        if not is_transcript and language != "bash":
            continue
        for line, command, output in _logical_lines(body, is_transcript):
            split = _split(command)
            if split:
                yield FencedCommand(name, first + line, command, split, output)


def _logical_lines(body: str, is_transcript: bool) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """(index of the line, command, output) of the commands of a block."""
    lines, at = body.splitlines(), 0
    while at < len(lines):
        begin, command = at, lines[at].removeprefix("$ ") if is_transcript else lines[at]
        while command.endswith("\\"):
            at += 1
            command = command[:-1] + lines[at].strip()
        at += 1
        output = []
        while is_transcript and at < len(lines) and not lines[at].startswith("$ "):
            output.append(lines[at])
            at += 1
        yield begin, command, tuple(output)


def _split(command: str) -> tuple[tuple[str, ...], ...]:
    """The words of the commands on a line, without comments."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in _BETWEEN:
            found.append([])
        else:
            found[-1].append(word)
    return tuple(tuple(words) for words in found if words)
