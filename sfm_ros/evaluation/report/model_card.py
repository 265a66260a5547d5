"""A model card, written for a person in a few marks of Markdown, as HTML."""

from __future__ import annotations

import html


def card_as_html(text: str) -> str:
    """Headings (``#``), lists (``*`` or ``-``) and paragraphs; every other mark is left as it is.

    Lines within a paragraph or an entry are joined, so that they break where the page does.
    """
    parts: list[str] = []
    for block in _blocks(text):
        lines = [line for line in block if line.strip()]
        while lines and lines[0].startswith("#"):
            parts.append(f"<h3>{_escaped(lines.pop(0).lstrip('#'))}</h3>")
        while lines and not _is_entry(lines[0]):
            first_entry = next((i for i, line in enumerate(lines) if _is_entry(line)), len(lines))
            parts.append(f"<p>{_escaped(' '.join(lines[:first_entry]))}</p>")
            lines = lines[first_entry:]
        if lines:
            entries = "".join(f"<li>{_escaped(entry)}</li>" for entry in _entries(lines))
            parts.append(f"<ul>{entries}</ul>")
    return "\n".join(parts)


def _blocks(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.strip().split("\n\n")]


def _is_entry(line: str) -> bool:
    return line.startswith(("* ", "- "))


def _entries(lines: list[str]) -> list[str]:
    """The entries of a list; a line without a mark goes on with the one before."""
    entries: list[str] = []
    for line in lines:
        if _is_entry(line):
            entries.append(line[2:])
        else:
            entries[-1] += " " + line
    return entries


def _escaped(text: str) -> str:
    return html.escape(" ".join(text.split()))
