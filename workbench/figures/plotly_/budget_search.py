"""Draws figures of the kind ``budget_search`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.budget_search import BudgetSearchInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: BudgetSearchInfo) -> None:
    """Draw ``info`` into a plotly figure: worth by the share of everything that the budget is, a line each."""
    for view in info.searches:
        for i, name in enumerate(info.names):
            figure.add_scatter(
                x=[pick.budget / view.full for pick in view.picks],
                y=[pick.worth[i] for pick in view.picks],
                name=plain(f"{view.what}: {name}"),
            )
    figure.update_xaxes(title="budget, share of what everything takes", tickformat=".0%")
    figure.update_yaxes(title="share of the worth", tickformat=".0%")
