"""One panel class for each interactive figure."""

from __future__ import annotations

from widgets.base import STATIC, Panel
from workbench.figures.info import FigureInfo


class ParetoView(Panel):
    """Any two measures against each other, with a budget of memory that the reader moves;
    :class:`widgets.pareto_panel.ParetoPanel` is one that runs what is missing."""

    kind = "pareto"
    _esm = STATIC / "pareto.js"


class TimelinePanel(Panel):
    """The memory of one training step, moment by moment."""

    kind = "timeline"
    _esm = STATIC / "timeline.js"


class FitPanel(Panel):
    """Every method against a budget: fits, or not and why."""

    kind = "fit"
    _esm = STATIC / "fit.js"


class VisitedPanel(Panel):
    """What the backward pass of each way of tuning still visits, layer by layer."""

    kind = "visited"
    _esm = STATIC / "visited.js"


class SavedMapPanel(Panel):
    """What is kept for backward; the reader sets what trains, is recomputed, is packed."""

    kind = "saved_map"
    _esm = STATIC / "saved_map.js"


class BudgetSearchPanel(Panel):
    """What a search picks to train within a budget of bytes or operations that the reader sets."""

    kind = "budget_search"
    _esm = STATIC / "budget_search.js"


class RunView(Panel):
    """One run that is over; :class:`widgets.run_panel.RunPanel` is one that trains."""

    kind = "run"
    _esm = STATIC / "run.js"


class GridView(Panel):
    """A grid of runs; :class:`widgets.ablation_panel.AblationPanel` is one that runs what is missing."""

    kind = "grid"
    _esm = STATIC / "grid.js"


class ComparePanel(Panel):
    """Runs side by side, with their differences only on demand."""

    kind = "compare"
    _esm = STATIC / "compare.js"


class GradientPanel(Panel):
    """Gradient norm and update-to-weight ratio by layer and step; frozen layers are shown as frozen."""

    kind = "gradients"
    _esm = STATIC / "gradients.js"


_PANELS: tuple[type[Panel], ...] = (
    ParetoView,
    TimelinePanel,
    FitPanel,
    VisitedPanel,
    SavedMapPanel,
    BudgetSearchPanel,
    RunView,
    GridView,
    ComparePanel,
    GradientPanel,
)
_BY_KIND: dict[str, type[Panel]] = {p.kind: p for p in _PANELS}


def panel_for(figure: FigureInfo) -> Panel | None:
    """The panel that draws a figure, or None when it has no interactive form."""
    panel = _BY_KIND.get(figure.kind)
    return panel(figure) if panel else None
