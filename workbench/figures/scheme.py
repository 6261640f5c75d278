"""The table of a searched update scheme: what could train, what it would win and keep, and what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size
from workbench.figures.info import percent
from workbench.figures.table import Column, Table


class Candidate(Protocol):
    """Tensors that are chosen together; see :class:`workbench.studies.scheme_search.Candidate`."""

    @property
    def label(self) -> str: ...
    @property
    def tensors(self) -> tuple[str, ...]: ...
    @property
    def sensitivity(self) -> float: ...
    @property
    def alone(self) -> int: ...
    @property
    def chosen(self) -> bool: ...


class FoundScheme(Protocol):
    """The outcome of a search; see :class:`workbench.studies.scheme_search.FoundScheme`."""

    @property
    def candidates(self) -> Sequence[Candidate]: ...
    @property
    def share(self) -> float: ...
    @property
    def tried(self) -> int: ...
    @property
    def predicted(self) -> MemoryProfile: ...


def scheme(found: FoundScheme) -> Table:
    """Every candidate, the most sensitive first."""
    total = sum(c.sensitivity for c in found.candidates) or 1.0
    ordered = sorted(found.candidates, key=lambda c: -c.sensitivity)
    rows: list[dict[str, Any]] = [
        {
            "label": c.label,
            "chosen": "trains" if c.chosen else "frozen",
            "share": c.sensitivity / total,
            "alone": c.alone,
            "count": len(c.tensors),
        }
        for c in ordered
    ]
    columns = (
        Column("label", "Block and role"),
        Column("chosen", "Chosen"),
        Column("share", "Share of sensitivity", "score"),
        Column("alone", "Kept for it alone", "bytes"),
        Column("count", "Tensors", "count"),
    )
    text = (
        f"The chosen tensors hold {percent(found.share)} of the sensitivity at a predicted peak of "
        f"{format_size(found.predicted.peak)}; {found.tried} schemes were judged. Sensitivity is the sum of absolute "
        "gradients on real batches, taken as additive, which is an assumption. What a tensor keeps alone, it may share "
        "with others."
    )
    return Table(columns, tuple(rows), text, filterable=True)
