"""Panels that draw the library's figures live in a notebook and from stored data in a report."""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "Panel": "widgets.base",
    "ParetoPanel": "widgets.pareto_panel",
    "ParetoView": "widgets.panels",
    "TimelinePanel": "widgets.panels",
    "FitPanel": "widgets.panels",
    "VisitedPanel": "widgets.panels",
    "SavedMapPanel": "widgets.panels",
    "BudgetSearchPanel": "widgets.panels",
    "RunView": "widgets.panels",
    "GridView": "widgets.panels",
    "ComparePanel": "widgets.panels",
    "GradientPanel": "widgets.panels",
    "AblationPanel": "widgets.ablation_panel",
    "RunPanel": "widgets.run_panel",
    "run": "widgets.run_panel",
    "FitExplorer": "widgets.fit_panel",
    "explore": "widgets.fit_panel",
    "PinnedRuns": "widgets.pins",
    "pinned": "widgets.pins",
    "Guess": "widgets.lesson",
    "guess": "widgets.lesson",
    "check": "widgets.lesson",
    "panel_for": "widgets.panels",
    "show": "widgets.display",
    "form": "widgets.forms",
    "Form": "widgets.forms",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a panel on first use, so that reading the static modules costs no notebook libraries."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'widgets' has no attribute {name!r}")
