"""Colours, markers and words that every drawing shares, so that a method looks the same everywhere."""

from __future__ import annotations

import hashlib

from workbench.core.profile import Category

#: Okabe and Ito's colour-blind-safe palette, without its yellow and black that vanish on one of the themes.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
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

_FIXED = {
    "full": (0, 0),
    "head": (4, 1),
    "bias": (2, 2),
    "last_k": (3, 3),
    "checkpoint": (5, 6),
    "update_in_backward": (0, 7),
    "mezo": (6, 5),
    "lora": (1, 0),
    "dora": (1, 3),
    "ia3": (3, 2),
    "vera": (5, 1),
}


def _slot(name: str) -> tuple[int, int]:
    key = name.lower().replace("-", "_")
    if key in _FIXED:
        return _FIXED[key]
    digest = hashlib.sha256(key.encode()).digest()
    return digest[0] % len(PALETTE), digest[1] % len(MARKERS)


def method_colour(name: str) -> str:
    """The colour of a method: a function of its name alone."""
    return PALETTE[_slot(name)[0]]


def method_marker(name: str) -> str:
    """The marker of a method: a function of its name alone."""
    return MARKERS[_slot(name)[1]]
