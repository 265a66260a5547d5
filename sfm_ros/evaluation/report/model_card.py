"""The model card, Markdown from a model bundle, as HTML that contains nothing but text.

A bundle may come from anywhere, so raw HTML, links and images are not interpreted: no script can
run, and the page loads nothing.
"""

from __future__ import annotations

import html
import re
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor

# A list may follow a line of text directly, as in CommonMark.
_LIST_AFTER_TEXT = re.compile(r"^(?![*-] |\s)(.+)\n(?=[*-] )", re.MULTILINE)
_HEADING_OFFSET = 2  # the page uses h1 and h2 itself


def card_as_html(text: str) -> str:
    """Markdown as HTML; HTML, links and images appear as the text that they are."""
    markdown = Markdown(extensions=[_TextOnly()], output_format="html")
    try:
        return markdown.convert(_LIST_AFTER_TEXT.sub(r"\1\n\n", text))
    except RecursionError:  # nested too deeply to be a card
        return f"<pre>{html.escape(text)}</pre>"


class _TextOnly(Extension):
    """Removes every rule that could put markup or addresses of the card into the page."""

    _INLINE = ("html", "link", "reference", "short_reference", "image_link", "image_reference",
               "short_image_ref", "autolink", "automail")  # fmt: skip

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.deregister("html_block")
        md.parser.blockprocessors.deregister("reference")
        for name in self._INLINE:
            md.inlinePatterns.deregister(name)
        md.treeprocessors.register(_Headings(md), "headings", 0)


class _Headings(Treeprocessor):
    """Lowers the level of all headings."""

    def run(self, root: Element) -> None:
        for element in root.iter():
            if re.fullmatch("h[1-6]", element.tag):
                level = min(int(element.tag[1]) + _HEADING_OFFSET, 6)
                element.tag = f"h{level}"
