"""Pieces that several plotly drawings share."""

from __future__ import annotations

SYMBOLS = {
    "circle": "circle",
    "square": "square",
    "triangle": "triangle-up",
    "diamond": "diamond",
    "cross": "x",
    "plus": "cross",
    "down": "triangle-down",
    "pentagon": "pentagon",
}
ALARM = "#C8102E"


def plain(text: str) -> str:
    """Text that plotly shows as it is: its own markup characters escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mib(size: float) -> float:
    """Bytes on an axis in MiB."""
    return size / 2**20
