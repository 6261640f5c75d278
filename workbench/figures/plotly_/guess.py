"""Draws figures of the kind ``guess`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.guess import GuessInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: GuessInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    marks = [
        ", ".join(word for word, on in (("guessed", i == info.choice), ("right", i == info.answer)) if on)
        for i in range(len(info.options))
    ]
    figure.add_table(
        header={"values": [plain(info.question), ""]}, cells={"values": [[*map(plain, info.options)], marks]}
    )
