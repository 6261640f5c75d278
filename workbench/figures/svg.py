"""Makes any SVG text safe and themeable: known elements and attributes only, no style, no outside address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from workbench.figures.compact import compacted

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
#: Drawn as this colour, text and axes follow the theme of the page they stand in.
INK = "#010203"
FAINT = "#040506"
ALARM = "#070809"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTS = _words(
    """
    svg g path rect circle ellipse line polyline polygon text tspan defs clipPath pattern use image
    title desc linearGradient stop marker
    """
)
_ATTRIBUTES = _words(
    """
    id class d x y x1 y1 x2 y2 dx dy cx cy r rx ry width height viewBox points transform fill fill-opacity
    fill-rule stroke stroke-width stroke-linecap stroke-linejoin stroke-dasharray stroke-dashoffset
    stroke-opacity stroke-miterlimit opacity font-size font-weight font-style text-anchor
    clip-path clip-rule patternUnits patternTransform preserveAspectRatio offset stop-color stop-opacity
    role aria-label aria-hidden dominant-baseline image-rendering markerWidth markerHeight
    refX refY orient
    """
)
_LOCAL = re.compile(r"url\(\s*['\"]?#([\w.-]+)['\"]?\s*\)")
_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+\Z")


_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(text: str, prefix: str) -> str:
    """The SVG without scripts, styles, handlers, links and needless bytes; ``prefix`` keeps its ids apart on a page.

    Raises ``ValueError`` for text that is not one SVG document.
    """
    if "<!ENTITY" in text:
        raise ValueError("an SVG with entity declarations is not accepted")
    text = _NO_XML.sub("", text)  # a label may hold what no XML document can
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG document: {error}") from None
    if _local(root.tag) != "svg":
        raise ValueError("not an SVG document")
    root = compacted(_copy(root), prefix)
    if "viewBox" in root.attrib:
        root.attrib.pop("width", None)
        root.attrib.pop("height", None)
    root.set("aria-hidden", "true")  # the frame around it carries the sentence for screen readers
    root.set("xmlns", SVG)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")  # in texts and values > is escaped


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _copy(element: ElementTree.Element) -> ElementTree.Element:
    new = ElementTree.Element(_local(element.tag))
    new.text = element.text if new.tag in ("text", "tspan", "title", "desc") else None
    attributes = dict(_declarations(element.attrib.get("style", "")))
    attributes = {**element.attrib, **attributes}
    for name, value in attributes.items():
        kept = _attribute(_local(name) if name.startswith("{") else name, value, new.tag)
        if kept is not None:
            new.set(*kept)
    for child in element:
        if _local(child.tag) in _ELEMENTS:
            copied = _copy(child)
            copied.tail = child.tail if new.tag in ("text", "tspan") else None
            new.append(copied)
    return new


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    """Presentation attributes out of a style attribute; the font shorthand gives its size and weight."""
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip(), value.strip()
        if name == "font":
            size = re.search(r"([\d.]+)px", value)
            if size:
                yield "font-size", size.group(1)
            if re.search(r"\b(bold|[6-9]00)\b", value):
                yield "font-weight", "600"
        elif name:
            yield name, value


def _attribute(name: str, value: str, tag: str) -> tuple[str, str] | None:
    if name == "href":
        if tag == "use" and value.startswith("#"):
            return name, value
        return ("href", re.sub(r"\s", "", value)) if tag == "image" and _PNG.match(value) else None
    if name not in _ATTRIBUTES:
        return None
    if "url(" in value:
        local = _LOCAL.fullmatch(value.strip())
        return (name, f"url(#{local.group(1)})") if local else None
    if value.lower() == INK:
        return name, "currentColor"
    if value.lower() == ALARM:
        return name, "var(--pp-alarm, #C8102E)"
    if value.lower() == FAINT:
        return ("class", "faint") if name == "stroke" else (name, "currentColor")
    return name, value
