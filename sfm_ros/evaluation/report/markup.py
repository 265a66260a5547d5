"""What the sections of a report are put together from."""

from __future__ import annotations

import html


def section(title: str, body: str) -> str:
    """A part of the page with its heading."""
    return f"<section><h2>{html.escape(title)}</h2>\n{body}</section>"


def columns(*parts: str) -> str:
    """Parts side by side, or one below the other where there is no room."""
    inside = "".join(f"<div>{part}</div>" for part in parts)
    return f'<div class="columns">{inside}</div>'


def note(text: str) -> str:
    """A remark."""
    return f'<p class="note">{html.escape(text)}</p>'


def legend(*entries: tuple[str, str]) -> str:
    """Colors and what they mean: (class of the style sheet, label)."""
    items = "".join(
        f'<span><i class="key {style}"></i>{html.escape(label)}</span>' for style, label in entries
    )
    return f'<p class="legend">{items}</p>'


def figure(chart: str, above: str, below: str) -> str:
    """A chart with its legend (HTML) above and its explanation (text) below."""
    return f"<figure>{above}{chart}<figcaption>{html.escape(below)}</figcaption></figure>"


def table(style: str, rows: str, head: str = "") -> str:
    """A table that scrolls where it is wider than the page."""
    top = f"<thead>{head}</thead>" if head else ""
    return f'<div class="scroll"><table class="{style}">{top}<tbody>{rows}</tbody></table></div>'


def option_rows(entries: list[tuple[str, str, bool]]) -> list[str]:
    """Rows of name and value; those with True are marked."""
    return [
        f'<tr{" class=changed" if changed else ""}><th scope="row">{html.escape(name)}</th>'
        f"<td>{html.escape(value)}</td></tr>"
        for name, value, changed in entries
    ]
