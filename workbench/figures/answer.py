"""The one-sentence answer to a comparison, computed from its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workbench.core.units import format_size
from workbench.figures.groups import Group, Metric, budget_of, group, metric_of
from workbench.records.schema import RunRecord, State
from workbench.stats import Interval, paired_difference

NAMED = 4  #: more methods than this are counted instead of named
REFERENCE = "full"  #: the method every other one is held against


def answer(records: Sequence[RunRecord], budget: int | None = None) -> str:
    """Which method that fits scores best, how sure that is, how far from full tuning; below, what does not fit.

    The first line is the answer in one sentence, a second line holds what else must be said.

    ``budget`` is bytes; without it the one the runs share. Nothing is claimed beyond the intervals: a method
    whose interval overlaps the best one's is named as within noise of it.
    """
    if not records:
        return "No runs yet, so there is no answer."
    budget = budget_of(records, budget)
    metric = metric_of(records)
    groups = group(records)
    scored = [g for g in groups if g.interval is not None and g.fits(budget)]
    under = f"Under {format_size(budget)}" if budget is not None else "Without a budget"
    sign = 1 if metric.lower_is_better else -1
    scored.sort(key=lambda g: sign * g.interval.mean)  # type: ignore[union-attr]
    sentences = []
    if scored:
        sentences.append(_best(under, scored, groups, metric))
    else:
        sentences.append(f"{under}, no method that fits has a score.")
    rest = " ".join(_not_fitting(groups, budget) + _unfinished(groups))
    return "\n".join([*sentences, rest] if rest else sentences)


def _best(under: str, scored: Sequence[Group], groups: Sequence[Group], metric: Metric) -> str:
    best = scored[0]
    interval = best.interval
    assert interval is not None
    peak, kind = best.peak or (None, "")
    size = f" at a {kind} peak of {format_size(peak)}" if peak is not None else ""
    shown = f"{metric.shown(interval.mean)} {metric.name} ({_doubt(interval, metric)})"
    text = f"{under}, {best.label} scores best: {shown}{size}"
    near = [g.label for g in scored[1:] if g.interval is not None and g.interval.overlaps(interval)]
    if near and interval.kind != "none":
        text += f", not told apart at 95 % from {_listed(near)}"
    return text + _against_reference(best, groups, metric) + "."


def _doubt(interval: Interval, metric: Metric) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.count} seed, no interval" if interval.count == 1 else "no interval"
    over = f"{interval.count} seeds" if interval.kind == "seeds" else f"{interval.count} test examples of one seed"
    return f"95 % interval {metric.shown(interval.low)} to {metric.shown(interval.high)} over {over}"


def _against_reference(best: Group, groups: Sequence[Group], metric: Metric) -> str:
    """How the best stands to full tuning: paired over shared seeds, or what full tuning would need."""
    reference = next((g for g in groups if g.method == REFERENCE), None)
    if reference is None or reference is best:
        return ""
    difference = paired_difference(best.by_seed, reference.by_seed)
    if difference is None:
        return ""
    better = (difference.mean < 0) == metric.lower_is_better
    apart = f"{metric.difference(abs(difference.mean))} {metric.unit}"
    points = f"{apart} {'better' if better else 'worse'} than full fine-tuning"
    if difference.low is None or difference.high is None:
        return f", {points} (one shared seed, no interval)"
    low, high = (metric.difference(v, signed=True) for v in (difference.low, difference.high))
    span = f"paired 95 % interval {low} to {high}"
    open_ = ", which does not settle it" if difference.low <= 0 <= difference.high else ""
    return f", {points} ({span} over {difference.count} seeds{open_})"


def _not_fitting(groups: Sequence[Group], budget: int | None) -> list[str]:
    over = [g for g in groups if budget is not None and g.fits(budget) is False]
    if not over:
        return []
    if len(over) > NAMED:
        bound = Counter(str(g.profile.binding_category) for g in over if g.profile)
        why = ", ".join(f"{count} mostly {category}" for category, count in bound.most_common())
        return [f"Does not fit: {len(over)} of {len(groups)} methods ({why})."]
    return [f"Does not fit: {'; '.join(_over(g, budget) for g in over)}."]


def _over(group: Group, budget: int | None) -> str:
    binding = f", mostly {group.profile.binding_category}" if group.profile else ""
    if group.peak and budget is not None and group.peak[0] > budget:
        kind = group.peak[1] + ("; it ran as the reference, without the budget" if group.reference else "")
        over = format_size(group.peak[0] - budget)
        return f"{group.label} needs {format_size(group.peak[0])}, {over} too much ({kind}){binding}"
    return f"{group.label} passes the budget{binding}"


def _unfinished(groups: Sequence[Group]) -> list[str]:
    """Everything else that has no full result, so that silence never hides a failure."""
    states = (State.FAILED, State.OUT_OF_MEMORY, State.DIVERGED, State.CANCELLED, State.RUNNING, State.REFUSED)
    out = []
    for g in groups:
        count = sum(r.state is g.state for r in g.runs)
        if g.state is State.REFUSED and g.profile is not None:
            continue  # already said with its predicted peak
        if g.state in states:
            which = "" if count == len(g.runs) else f" in {count} of {len(g.runs)} seeds"
            out.append(f"{g.label} {g.state.value}{which}")
    return [f"Without a full result: {_listed(out)}."] if out else []


def _listed(names: Sequence[str]) -> str:
    names = list(names) if len(names) <= NAMED + 1 else [*names[:NAMED], f"{len(names) - NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
