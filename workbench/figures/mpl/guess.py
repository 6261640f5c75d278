"""Prints a question with its options; the answer once it is revealed."""

from __future__ import annotations

import textwrap
from typing import Any

from workbench.figures.guess import GuessInfo
from workbench.figures.mpl.base import blank


def draw(info: GuessInfo) -> Any:
    """A matplotlib figure of ``info``."""
    lines = [(text, "bold") for text in textwrap.wrap(info.question, 96)]
    for i, option in enumerate(info.options):
        right = info.answer == i
        said = f"{'✓' if right else '○'} {option}{'  (guessed)' if info.choice == i else ''}"
        lines.append((said, "bold" if right else "normal"))
    lines += [(text, "normal") for text in textwrap.wrap(info.because, 96)]
    figure, axes = blank(0.24 * len(lines) + 0.2)
    axis = axes[0][0]
    axis.axis("off")
    axis.set(xlim=(0, 1), ylim=(len(lines), 0))
    for y, (text, weight) in enumerate(lines):
        axis.text(0, y, text, va="top", ha="left", fontsize=10, fontweight=weight)
    return figure
