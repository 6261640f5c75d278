"""One cell of a declared grid with one seed, and the run when there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.records.schema import FINISHED, RunRecord


@dataclass(frozen=True)
class GridPoint:
    """A place on each axis of the grid, a seed, and what the store holds of it."""

    at: Mapping[str, Any]
    seed: int
    record: RunRecord | None

    @property
    def missing(self) -> bool:
        """Whether running the grid would run this point: it was never run, or it was stopped on the way."""
        return self.record is None or self.record.state not in FINISHED
