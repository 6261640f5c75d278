"""Colours, markers and words that every drawing shares, so that a method looks the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from workbench.core.profile import Category

#: Okabe and Ito's colour-blind-safe palette, without its yellow and black that vanish on one of the themes; violet
#: and grey make eight.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7D8590")
MARKERS = ("circle", "square", "triangle", "diamond", "cross", "plus", "down", "pentagon")

CATEGORY_COLOURS: dict[str, str] = {
    Category.WEIGHTS: "#0072B2",
    Category.GRADIENTS: "#56B4E9",
    Category.OPTIMIZER: "#CC79A7",
    Category.SAVED: "#D55E00",
    Category.WORKSPACE: "#E69F00",
    Category.INPUTS: "#009E73",
}
#: A second sign beside the colour, for print and for eyes that do not tell the colours apart.
CATEGORY_HATCHES: dict[str, str] = {
    Category.WEIGHTS: "",
    Category.GRADIENTS: "|",
    Category.OPTIMIZER: "x",
    Category.SAVED: "/",
    Category.WORKSPACE: "\\",
    Category.INPUTS: "-",
}
CATEGORIES = tuple(str(c) for c in Category)

#: Place of usual methods in palette and markers. Rarer ones share a place and move on when it is taken.
_USUAL = ("full", "lora", "bias", "last-blocks", "head", "checkpointing", "mezo", "update-in-backward")
_RARER = {"dora": 3, "ia3": 2, "vera": 5, "adalora": 4, "loha": 7, "lokr": 6}
_SLOTS = len(PALETTE)


def _wished(name: str) -> int:
    key = name.lower().replace("_", "-")
    if key in _USUAL:
        return _USUAL.index(key)
    return _RARER.get(key, hashlib.sha256(key.encode()).digest()[0] % _SLOTS)


def looks(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Colour and marker of each entry of one comparison, in order; up to eight entries differ in both.

    Usual methods keep theirs from page to page; every other one takes its own if free, else the next free one.
    """
    taken: dict[int, int] = {}
    for i, name in enumerate(methods):
        if name.lower().replace("_", "-") in _USUAL and _wished(name) not in taken.values():
            taken[i] = _wished(name)
    for i, name in enumerate(methods):
        if i not in taken:
            free = [s for s in range(max(_SLOTS, len(methods))) if s not in taken.values()]
            taken[i] = _wished(name) if _wished(name) in free else free[0]
    return [_look(taken[i]) for i in range(len(methods))]


def _look(slot: int) -> tuple[str, str]:
    """Beyond eight the colours come round again, each time with another marker."""
    return PALETTE[slot % _SLOTS], MARKERS[(slot + slot // _SLOTS) % len(MARKERS)]


def method_colour(name: str) -> str:
    """The colour a method has when nothing else is drawn: a function of its name alone."""
    return _look(_wished(name))[0]


def method_marker(name: str) -> str:
    """The marker a method has when nothing else is drawn: a function of its name alone."""
    return _look(_wished(name))[1]
