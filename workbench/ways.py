"""Ways out of a budget that a case passes: changes that keep the method, each one verified by a prediction."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, PintpotError
from workbench.core.profile import Category, MemoryProfile, Tier
from workbench.core.units import format_size

_BATCH = frozenset({Category.SAVED, Category.WORKSPACE, Category.INPUTS})
_STATE = frozenset({Category.OPTIMIZER, Category.WORKSPACE})
_TUNED = _BATCH | _STATE | {Category.GRADIENTS, Category.WEIGHTS}

#: Settings that lower the peak, in the order of what they cost: what leaves the result as it is, then what packs
#: approximately, then less optimizer state, then less tuned. Each with the values to try, the words, and the
#: categories it can lower at all. A config that lacks the field, or has it on already, is passed over.
_LEVERS: tuple[tuple[str, tuple[Any, ...], str, frozenset[Category]], ...] = (
    ("bit_masks", (True,), "one-bit masks", _BATCH),
    ("update_in_backward", (True,), "update in backward", frozenset({Category.GRADIENTS, Category.WORKSPACE})),
    ("chunked_loss", (128,), "loss 128 tokens at a time", _BATCH),
    ("recompute", (1,), "recompute every block", _BATCH),
    ("saved", ("bf16", "int8"), "saved tensors in {}", _BATCH),
    ("weights", ("frozen-bf16", "nf4", "bf16"), "weights {}", frozenset(Category)),
    ("optimizer", ("adamw8bit", "sgd"), "optimizer {}", _STATE),
    ("r", (1,), "rank 1", _TUNED),
    ("num_virtual_tokens", (1,), "1 virtual token", _TUNED),
    ("blocks", (0,), "no block, the head alone", _TUNED),
)
#: Values that are less state than the key's; a change never goes the other way.
_LIGHTER: Mapping[str, tuple[str, ...]] = {
    "adamw": ("adamw8bit", "sgd"),
    "momentum": ("sgd",),
    "adamw8bit": ("sgd",),
}


@dataclass(frozen=True)
class Change:
    """One way out, verified: ``case`` was predicted at ``peak`` bytes."""

    sentence: str
    case: Case
    peak: int


def ways_out(
    case: Case, budget: int, tier: Tier | None = None, most: int = 2, *, profile: MemoryProfile | None = None
) -> Iterator[Change]:
    """Changes that make ``case`` fit, cheapest first; two at once only where no single one is enough.

    A change is not even predicted when what it cannot lower passes the budget by itself at the peak.
    """
    profile = profile or case.predict(tier)
    singles = list(_singles(case))
    able = [s for s in singles if _rest(profile, s[2]) <= budget]
    found = 0
    batch = _smaller_batch(case, budget, tier, profile)
    if batch is not None:
        yield batch
        found += 1
    peaks: list[tuple[int, str, Case]] = []
    for sentence, changed, _ in able:
        if found >= most:
            return
        peak = _peak(changed, tier)
        if peak is not None and peak <= budget:
            fewest = fewest_recomputed(case, budget, tier) if changed.config.recompute > case.config.recompute else None
            yield fewest or Change(sentence, changed, peak)
            found += 1
        elif peak is not None and peak < profile.peak:
            peaks.append((peak, sentence, changed))
    if not found:
        yield from _together(case, budget, tier, singles, peaks)


def fewest_recomputed(case: Case, budget: int, tier: Tier | None = None) -> Change | None:
    """The case with the fewest blocks recomputed in backward, from the front, that fits ``budget`` bytes.

    ``None`` where recomputing all of them is not enough, or where the model has no blocks. Every further block
    lowers the peak but the last, which backward makes again at once; a bisection over the others finds the number.
    Each of its steps is one prediction.
    """
    from workbench.models.structure import blocks

    count = len(blocks(case.spec.build(case.task.classes(case.spec), device="meta", weights=False)))
    cases = [_with(case, recompute_first=first) for first in range(1, count + 1)]

    if not cases:
        return None

    def fits(changed: Case) -> bool:
        peak = _peak(changed, tier)
        return peak is not None and peak <= budget

    least = bisect_left(cases, True, hi=count - 1, key=fits)
    peak = _peak(cases[least], tier)
    if peak is None or peak > budget:
        return None
    return Change(f"recompute the first {least + 1} of {count} blocks", cases[least], peak)


def _together(
    case: Case, budget: int, tier: Tier | None, singles: list[tuple[str, Case, frozenset[Category]]], peaks: list[Any]
) -> Iterator[Change]:
    """The first fitting combination: the smallest batch with one change, then with ever more of them."""
    start, words = with_batch(case, 1), batch_words(with_batch(case, 1))
    if case.batch > 1:
        alone = _known_profile(start, tier)
        if alone is None:
            return
        for sentence, changed, lowers in singles:
            one = with_batch(changed, 1)
            peak = _peak(one, tier) if _rest(alone, lowers) <= budget else None
            if peak is not None and peak <= budget:
                yield Change(f"{sentence} and {words}", one, peak)
                return
    said, all_of = [words] if case.batch > 1 else [], start
    for name in ("recompute", "optimizer", "weights", "saved"):
        options = [(s, c) for s, c, _ in singles if c.settings.get(name) != case.settings.get(name)]
        for sentence, changed in options[-1:]:
            tried = _with(all_of, **{name: changed.settings[name]})
            peak = _peak(tried, tier)
            if peak is None:
                continue
            said, all_of = [sentence, *said], tried
            if peak <= budget and len(said) > 1:
                yield Change(" and ".join(said), tried, peak)
                return


def _singles(case: Case) -> Iterator[tuple[str, Case, frozenset[Category]]]:
    for name, values, words, lowers in _LEVERS:
        if name not in type(case.config).model_fields:
            continue
        now, default = getattr(case.config, name), type(case.config).model_fields[name].default
        for value in values:
            if name == "optimizer" and value not in _LIGHTER.get(now, ()):
                continue
            if name in ("r", "num_virtual_tokens", "blocks"):
                if not isinstance(now, int) or now <= value:
                    continue
            elif name != "optimizer" and now != default:
                continue  # the user has set it
            try:
                changed = _with(case, **{name: value})
                if changed.refusal() is None:
                    yield words.format(value), changed, lowers
            except PintpotError:
                continue  # a value that this config refuses


def _smaller_batch(case: Case, budget: int, tier: Tier | None, profile: MemoryProfile) -> Change | None:
    """The largest batch that fits, near the chord between two known ones: peaks are convex in the batch."""
    if case.batch == 1 or _rest(profile, _BATCH) > budget:
        return None
    least = _peak(with_batch(case, 1), tier)
    if least is None or least > budget:
        return None
    high, top = case.batch, profile.peak
    for _ in range(4):
        slope = (top - least) / (high - 1)
        size = max(1, min(high - 1, 1 + int((budget - least) / slope))) if slope > 0 else high - 1
        changed = with_batch(case, size)
        peak = least if size == 1 else _peak(changed, tier)
        if peak is not None and peak <= budget:
            return Change(batch_words(changed), changed, peak)
        high, top = size, peak if peak is not None else top  # accumulating began to hold gradients: a new chord
    changed = with_batch(case, 1)
    return Change(batch_words(changed), changed, least)


def with_batch(case: Case, batch: int) -> Case:
    """``case`` with a smaller micro-batch, accumulated to at least as many examples a step where that is possible."""
    if case.config.update_in_backward:
        return replace(case, batch=batch)
    return replace(case, batch=batch, accumulate=-(-case.batch * case.accumulate // batch))


def batch_words(case: Case) -> str:
    return f"batch {case.batch}" + (f" accumulated {case.accumulate} times" if case.accumulate > 1 else "")


def with_ways_out(error: BudgetExceeded, case: Case) -> BudgetExceeded:
    """The guard's error with verified ways out; unchanged when it has some or the step cannot be predicted."""
    if error.suggestions:
        return error
    try:
        found = tuple(f"{c.sentence} ({format_size(c.peak)})" for c in ways_out(case, error.limit))
    except PintpotError:
        return error
    return BudgetExceeded(
        operator=error.operator,
        module=error.module,
        category=error.category,
        asked=error.asked,
        live=error.live,
        limit=error.limit,
        ledger=error.ledger,
        suggestions=found,
    )


def _rest(profile: MemoryProfile, lowers: frozenset[Category]) -> int:
    """Bytes at the peak that a change lowering only these categories leaves there."""
    return sum(size for category, size in profile.by_category.items() if category not in lowers)


def _known_profile(case: Case, tier: Tier | None) -> MemoryProfile | None:
    try:
        return case.predict(tier)
    except PintpotError:
        return None


def _peak(case: Case, tier: Tier | None) -> int | None:
    profile = _known_profile(case, tier)
    return profile.peak if profile is not None else None


def _with(case: Case, **settings: Any) -> Case:
    return replace(case, settings={**case.settings, **settings})
