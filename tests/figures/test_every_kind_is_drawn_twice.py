"""Whatever can be shown has a printed and a plotly drawing, and both are asked for by the kind of the info alone."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import synthetic

from workbench import figures
from workbench.figures.info import FigureInfo
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.papers import papers


def kinds():
    """The kind of every info class of the package."""
    for found in pkgutil.iter_modules(figures.__path__, "workbench.figures."):
        if not found.ispkg:
            importlib.import_module(found.name)
    found, waiting = set(), [FigureInfo]
    while waiting:
        waiting += (below := waiting.pop().__subclasses__())
        found |= {c.kind for c in below if c.kind and c.__module__.startswith("workbench.figures.")}
    return sorted(found)


def test_every_kind_has_both_drawings():
    assert len(kinds()) > 20
    for kind in kinds():
        for family in ("mpl", "plotly_"):
            assert callable(importlib.import_module(f"workbench.figures.{family}.{kind}").draw), (family, kind)


@pytest.mark.parametrize(
    "info", [figures.papers_map(papers()), figures.errors(synthetic.comparison())], ids=lambda i: i.kind
)
def test_the_pages_about_the_workbench_are_drawn_twice(info):
    drawn = to_plotly(info)
    assert "<svg" in to_svg(info) and len(drawn.data) >= 2
    counted = sum(len(trace.x) for trace in drawn.data)
    assert counted == len(info.rows()) * (len(info.states) if info.kind == "papers" else 1)
