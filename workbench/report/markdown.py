"""Markdown and foreign HTML made safe: known elements only, headings numbered into a table of contents."""

from __future__ import annotations

import re

import mistune
import nh3
from markupsafe import Markup

_TAGS = set(nh3.ALLOWED_TAGS) - {"img", "map", "area"}
_ATTRIBUTES = {"a": {"href", "title"}, "th": {"colspan", "rowspan", "scope"}, "td": {"colspan", "rowspan"}}
_SCHEMES = {"http", "https", "mailto"}


def sanitised(text: str) -> Markup:
    """HTML with no script, style, handler, form, frame or image that would be fetched."""
    return Markup(
        nh3.clean(
            text,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            url_schemes=_SCHEMES,
            link_rel="noopener noreferrer",
        )
    )


class Contents(list[tuple[int, str, str]]):
    """Headings met so far as (level, anchor, text); anchors are unique within a page."""

    def anchor(self, text: str) -> str:
        base = "s-" + (re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section")
        taken = {anchor for _, anchor, _ in self}
        name, n = base, 2
        while name in taken:
            name, n = f"{base}-{n}", n + 1
        return name


_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.S)
_render = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])


def markdown(source: str, contents: Contents) -> Markup:
    """Sanitised HTML of a Markdown cell. Anchors are set after sanitising, so none can be smuggled in."""
    safe = str(sanitised(str(_render(source))))

    def anchored(match: re.Match[str]) -> str:
        level, inner = int(match.group(1)), match.group(2)
        text = Markup(inner).striptags()
        name = contents.anchor(text)
        contents.append((level, name, text))
        return f'<h{level} id="{name}">{inner}</h{level}>'

    return Markup(_HEADING.sub(anchored, safe))
