"""Draws figures of the kind ``compare`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.compare import CompareInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: CompareInfo) -> None:
    """The facts in which the runs differ; one run alone shows all of its facts."""
    lines = [line for line in info.lines if line.differs or len(info.columns) == 1]
    columns = [[plain(line.name) for line in lines]]
    columns += [[plain(line.values[i]) for line in lines] for i in range(len(info.columns))]
    figure.add_table(header={"values": ["fact", *map(plain, info.columns)]}, cells={"values": columns})
