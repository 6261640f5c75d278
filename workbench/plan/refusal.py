"""What a refused budget is told: the sentence of a prediction that passes it, and ways out, looked for once."""

from __future__ import annotations

import threading
from dataclasses import replace

from workbench.case import Case
from workbench.core.errors import BudgetExceeded
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_size
from workbench.plan.ways import Patience, ways_out
from workbench.records.schema import RunRecord

SECONDS = 12.0  #: a search for ways out may begin no prediction after this many


def ways_found(
    case: Case,
    budget: int,
    seconds: float = SECONDS,
    cancel: threading.Event | None = None,
    tier: Tier | None = None,
) -> tuple[tuple[str, ...], str]:
    """Ways out of ``budget`` bytes in words, cheapest first, each verified by a prediction; and what else to say.

    Never raises: a refusal stands whatever becomes of the search.
    """
    patience = Patience(seconds, cancel)
    found = []
    try:
        for change in ways_out(case, budget, tier, patience=patience):
            found.append(f"{change.sentence} ({format_size(change.peak)}, {change.source})")
    except Exception as error:
        return tuple(found), f"the search for ways out failed: {error}".rstrip(".")
    if patience.ran_out:
        return tuple(found), patience.sentence
    return tuple(found), "" if found else "no change that keeps the method makes it fit"


def with_ways_out(
    error: BudgetExceeded, case: Case, seconds: float = SECONDS, cancel: threading.Event | None = None
) -> BudgetExceeded:
    """The guard's error with verified ways out; unchanged when it has some."""
    if error.suggestions:
        return error
    ways, note = ways_found(case, error.limit, seconds, cancel)
    return error.noting(note, suggestions=ways)


def with_ways(
    record: RunRecord, case: Case, seconds: float = SECONDS, cancel: threading.Event | None = None
) -> RunRecord:
    """The record of a run of ``case`` that its budget refused, with ways out."""
    assert record.budget is not None
    ways, note = ways_found(case, record.budget, seconds, cancel)
    return replace(record, ways=ways, note=note)


def passes(profile: MemoryProfile, budget: int) -> str:
    """Why a case is refused before its first step: what its predicted peak is made of, and where it stands."""
    top = profile.binding_category
    split = sorted(profile.by_category.items(), key=lambda item: -item[1])
    return (
        f"predicted peak {format_size(profile.peak)} passes the budget of {format_size(budget)} "
        f"by {format_size(profile.peak - budget)}; "
        f"{format_size(profile.by_category[top])} of it is {top}, reached at {profile.operator}"
        + (f" in {profile.module}" if profile.module else "")
        + f" ({', '.join(f'{name} {format_size(size)}' for name, size in split if size)})"
    )
