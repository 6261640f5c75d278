"""A declared grid as a table, or any two of its metrics: shows what is missing and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from widgets.missing_runs import RunsMissing
from widgets.panels import GridView
from workbench import figures
from workbench.figures.grid import GridInfo
from workbench.records.grid import GridPoint


class AblationPanel(RunsMissing, GridView):
    """The grid over ``axes``, cell by cell; see :class:`widgets.missing_runs.RunsMissing`."""

    def drawn(self, points: Sequence[GridPoint], **more: Any) -> GridInfo:
        return figures.grid(points, self.bench.budget, **more)
