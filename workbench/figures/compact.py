"""Fewer bytes for the same picture: an SVG tree without what draws nothing, unused names and long numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

_LOCAL = re.compile(r"url\(#([\w.-]+)\)")
_NUMBER = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_STEP = re.compile(r"([MLHVCQZz])|(-?\d*\.?\d+(?:e-?\d+)?)|[\s,]+|(.)", re.DOTALL)
_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "Q": 4}
_ROTATED = re.compile(r"rotate\(([-\d.]+)[^()]*\)")
_COORDINATES = frozenset(("points", "x", "y", "x1", "x2", "y1", "y2", "width", "height"))
_SHAPES = frozenset(("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"))
#: What stands in these inherits from another place than it stands in.
_ELSEWHERE = frozenset(("defs", "clipPath", "pattern", "marker", "linearGradient"))
#: Inherited properties, and their values where nothing is said.
_USUAL = {
    "fill": "#000000", "fill-opacity": "1", "stroke": "none", "stroke-opacity": "1", "stroke-width": "1",
    "stroke-linejoin": "miter", "stroke-linecap": "butt", "text-anchor": "start", "font-size": "",
}  # fmt: skip

#: Properties that the root may say for all: what is drawn by them, and their usual value.
_SAID_ONCE = (("fill", _SHAPES | {"use", "text"}, "#000000"), ("font-size", frozenset({"text"}), ""))


def compacted(root: Element, prefix: str) -> Element:
    """``root``, changed in place. Ids that are referred to get short names behind ``prefix``, others go."""
    found = (_reference(name, value) for element in root.iter() for name, value in element.attrib.items())
    names = {name: f"{prefix}{i}" for i, name in enumerate(dict.fromkeys(filter(None, found)))}
    for name, drawn, usual in _SAID_ONCE:
        _say_once(root, name, drawn, usual)
    _walk(root, names, _USUAL)
    return root


def _say_once(root: Element, name: str, drawn: frozenset[str], usual: str) -> None:
    """Give the value that most elements name to the root, which all inherit from; what named none keeps the usual."""
    found = Counter(value for element in root.iter() if (value := element.get(name)) and not _LOCAL.fullmatch(value))
    bare = list(_bare(root, name, drawn))
    if root.get(name) or not found or (bare and not usual):
        return
    value, count = found.most_common(1)[0]
    if count > len(bare) + 1:
        for element in bare:
            element.set(name, usual)
        root.set(name, value)


def _bare(element: Element, name: str, drawn: frozenset[str]) -> Iterator[Element]:
    """What is drawn and gets this property from nobody; what lies in ``defs`` gets it where it is used."""
    for child in element:
        if child.get(name) is not None:
            continue
        if child.tag in drawn:
            if element.tag != "defs":
                yield child
        else:
            yield from _bare(child, name, drawn)


def _reference(name: str, value: str) -> str:
    """The id that an attribute refers to, or nothing."""
    if name == "href":
        return value[1:] if value.startswith("#") else ""
    local = _LOCAL.fullmatch(value)
    return local.group(1) if local else ""


def _walk(element: Element, names: Mapping[str, str], inherited: Mapping[str, str]) -> None:
    for name, value in list(element.attrib.items()):
        short = _attribute(name, value, names)
        if short is None or inherited.get(name) == short:
            del element.attrib[name]
        else:
            element.set(name, short)
    said = {name: value for name, value in element.attrib.items() if name in _USUAL}
    inherited = {} if element.tag in _ELSEWHERE else {**inherited, **said}
    if "class" in element.attrib:  # a style sheet gives it a stroke
        inherited.pop("stroke", None)
    for child in element:
        _walk(child, names, inherited)
    if element.tag not in ("text", "tspan"):
        element[:] = [seen for child in element for seen in _seen(child, inherited)]


def _attribute(name: str, value: str, names: Mapping[str, str]) -> str | None:
    """The value in fewer characters; None for one that says nothing."""
    if name == "id":
        return names.get(value)
    if reference := _reference(name, value):
        return value.replace(reference, names[reference])
    if name == "d":
        return path(value)
    if name == "font-size":
        return value.removesuffix("px")
    if name == "transform" and (rotated := _ROTATED.fullmatch(value)):
        return _rounded(value) if float(rotated.group(1)) else None
    return _rounded(value) if name in _COORDINATES else value


def _rounded(text: str) -> str:
    return _NUMBER.sub(lambda m: _tenths(round(float(m.group()) * 10)), text)


def _tenths(number: int) -> str:
    """``number`` tenths as SVG writes them: 12, 1.2, .2, -.2."""
    text = f"{number / 10:.1f}".removesuffix(".0")
    return text.replace("0.", ".", 1) if abs(number) < 10 else text


def _seen(child: Element, inherited: Mapping[str, str]) -> Iterator[Element]:
    """What may stand in the place of ``child``: itself, nothing, or what a group without properties holds."""
    bare = child.tag in ("g", "defs") and not child.get("id")
    if bare and not len(child):
        return
    if bare and child.tag == "g" and not child.attrib:
        yield from child
    elif not _blank(child, inherited):
        yield child


def _blank(child: Element, inherited: Mapping[str, str]) -> bool:
    """Whether a shape has neither a fill nor a line."""
    plain = child.tag in _SHAPES and not {"id", "class"} & child.attrib.keys()
    return plain and all(child.get(paint, inherited.get(paint)) == "none" for paint in ("fill", "stroke"))


def path(text: str) -> str:
    """Path data in steps from point to point, to a tenth of a unit, without drift: each point is rounded itself."""
    pieces = _pieces(text)
    if pieces is None:
        return _rounded(text)
    tokens: list[str] = []
    here = start = (0, 0)
    last = ""
    for command, numbers in pieces:
        if command == "Z":
            tokens.append("z")
            here, last = start, "z"
            continue
        ends = list(zip(numbers[::2], numbers[1::2], strict=True)) if command not in "HV" else [
            (numbers[0], here[1]) if command == "H" else (here[0], numbers[0])
        ]  # fmt: skip
        steps = [(x - here[0], y - here[1]) for x, y in ends]
        here = ends[-1]
        if command == "M":
            start = here
        letter, moved = _step(command, steps)
        if letter in "lhv" and not any(moved) and last in ("l", "h", "v"):
            continue  # the line is there already
        if letter == "m" or (letter != last and (letter, last) != ("l", "m")):
            tokens.append(letter)
        tokens += map(_tenths, moved)
        last = letter
    return _joined(tokens)


def _step(command: str, steps: list[tuple[int, int]]) -> tuple[str, list[int]]:
    (dx, dy), *others = steps
    if command in "LHV" and not others:
        if not dy:
            return "h", [dx]
        return ("v", [dy]) if not dx else ("l", [dx, dy])
    return command.lower(), [number for step in steps for number in step]


def _pieces(text: str) -> list[tuple[str, list[int]]] | None:
    """Commands and their absolute numbers in tenths; None for what is written in another way."""
    pieces: list[tuple[str, list[int]]] = []
    command, numbers = "", list[int]()
    for letter, number, other in _STEP.findall(text):
        if other or (letter and numbers) or (number and not command):
            return None
        if letter in ("Z", "z"):
            pieces.append(("Z", []))
            command = ""
        elif letter:
            command = letter
        elif number:
            numbers.append(round(float(number) * 10))
            if len(numbers) == _TAKES[command]:
                pieces.append((command, numbers))
                command, numbers = "L" if command == "M" else command, []
    return None if numbers or (pieces and pieces[0][0] != "M") else pieces


def _joined(tokens: list[str]) -> str:
    text, before = "", "z"
    for token in tokens:
        joins = before.isalpha() or token.isalpha() or token[0] == "-" or (token[0] == "." and "." in before)
        text += token if joins else f" {token}"
        before = token
    return text
