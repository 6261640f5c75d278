"""Any two measures of a comparison against each other: shows what is missing and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from widgets.missing_runs import RunsMissing
from widgets.panels import ParetoView
from workbench import figures
from workbench.figures.pareto import ParetoInfo
from workbench.records.grid import GridPoint


class ParetoPanel(RunsMissing, ParetoView):
    """The methods of the grid over ``axes``, one mark each; see :class:`widgets.missing_runs.RunsMissing`."""

    def drawn(self, points: Sequence[GridPoint], **more: Any) -> ParetoInfo:
        records = [p.record for p in points if p.record is not None]
        return figures.pareto(records, self.bench.budget, planned=points, **more)
