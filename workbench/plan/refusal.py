"""What a refused budget is told: the sentence of a prediction that passes it, and ways out, looked for once."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, Incompatible, PintpotError
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_size
from workbench.plan.device_need import device_need
from workbench.plan.ways import Patience, ways_out
from workbench.records.schema import RunRecord

HEAD = "head"  #: the method that trains the head alone
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
    patience, found = Patience(seconds, cancel), []
    beneath = on_a_device(case, budget) or _head_alone(case, budget, patience, tier)
    try:
        found += _emulated(case, budget, tier)
        for change in ways_out(case, budget, tier, patience=patience):
            found.append(change.words)
    except Incompatible as error:
        unanswered = error.field == "prediction"
        note = "no way out can be named, as this step has no prediction" if unanswered else f"no way out: {error}"
    except Exception as error:
        note = f"the search for ways out failed: {error}".rstrip(".")
    else:
        note = patience.sentence if patience.ran_out else ""
        note = note or ("" if found else "no change that keeps the method makes it fit")
    return tuple(found), "; ".join(said for said in (beneath, note) if said)


def on_a_device(case: Case, budget: int) -> str:
    """What a device that runs the step without torch would need of ``budget`` bytes, one example a step; empty where
    the step is torch's own. Below the head's own need the shortfall is named."""
    need = device_need(case)
    return "" if need is None else need.sentence(budget)


def _head_alone(case: Case, budget: int, patience: Patience, tier: Tier | None) -> str:
    """The shortfall of training nothing but the head on the same batch with the same levers; empty where that fits,
    where there is no head and where it needs more than the step itself."""
    try:
        head = _head_of(case)
        if case.method_name == HEAD or head.refusal() is not None or not patience.left():
            return ""
        peak = head.predict(tier).peak
    except PintpotError:
        return ""
    if peak <= budget or peak > _peak(case, tier):
        return ""
    return f"at this batch the head alone needs {format_size(peak)}, {format_size(peak - budget)} more than the budget"


def _head_of(case: Case) -> Case:
    """The same step with the head alone trained, and of the settings all that it takes."""
    head = replace(case, method_name=HEAD, settings={})
    for name, value in case.settings.items():
        if name not in head.method.Config.model_fields:
            continue
        more = replace(head, settings={**head.settings, name: value})
        try:
            head = head if more.refusal() is not None else more
        except PintpotError:  # a value that only the other method knows
            continue
    return head


def _peak(case: Case, tier: Tier | None) -> int:
    """The predicted peak; above everything where there is no prediction."""
    try:
        return case.predict(tier).peak
    except PintpotError:
        return sys.maxsize


def _emulated(case: Case, budget: int, tier: Tier | None) -> list[str]:
    """The budget that emulates here what keeps ``budget`` on the device itself; nothing where it keeps neither."""
    need = device_need(case)
    if need is None or need.own > budget:
        return []
    peak = case.predict(tier).peak
    kib = -(-peak // 1024)
    return [
        f"what is held to the budget here is the emulation, so give it one of its own: --budget {kib}KiB "
        f"({format_size(peak)}, predicted)"
    ]


def with_ways_out(
    error: BudgetExceeded, case: Case, seconds: float = SECONDS, cancel: threading.Event | None = None
) -> BudgetExceeded:
    """The guard's error with verified ways out; unchanged when it has some.

    Where the step needed more than its own prediction, ways out leave at least that much more room.
    """
    if error.suggestions:
        return error
    short = max(0, error.live + error.asked - _own(case, error.limit))
    ways, note = ways_found(case, error.limit - short, seconds, cancel)
    if short:
        said = f"the step needed at least {format_size(short)} more than predicted, which a way out leaves room for"
        note = "; ".join(part for part in (said, note) if part)
    return error.noting(note, suggestions=ways)


def _own(case: Case, limit: int) -> int:
    """The predicted peak of a step that was refused; past ``limit`` where the prediction says so too or has no say."""
    peak = _peak(case, None)
    return peak if peak <= limit else sys.maxsize


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
