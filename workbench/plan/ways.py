"""Ways out of a budget that a case passes: changes that keep the method, each one verified by a prediction."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from workbench.case import Case
from workbench.core.errors import PintpotError
from workbench.core.profile import Category, MemoryProfile, Phase, Tier
from workbench.keys import Kind
from workbench.plan.change import Change, options_of
from workbench.plan.fitting import predicted_step, shape_of, sizes_known, sizes_of
from workbench.plan.sizes import divisors

_BATCH = frozenset({Category.SAVED, Category.WORKSPACE, Category.INPUTS})
_STATE = frozenset({Category.OPTIMIZER, Category.WORKSPACE})
_TUNED = _BATCH | _STATE | {Category.GRADIENTS, Category.WEIGHTS}

#: Settings that lower the peak, in the order of what they cost: what leaves the result as it is, then what packs
#: approximately, then less optimizer state, then less tuned. Each with the values to try, the words, the categories it
#: can lower at all, and for each value the largest share of them that it could take away: what cannot take away enough
#: is not even predicted. A config that lacks the field, or has it on already, is passed over.
_LEVERS: tuple[tuple[str, tuple[Any, ...], str, frozenset[Category], tuple[float, ...]], ...] = (
    ("bit_masks", (True,), "one-bit masks", _BATCH, (0.6,)),
    ("lean_frozen", (True,), "no inputs kept by frozen convolutions", _BATCH, (1.0,)),
    ("update_in_backward", (True,), "update in backward", frozenset({Category.GRADIENTS, Category.WORKSPACE}), (1.0,)),
    ("chunked_loss", (128,), "loss 128 tokens at a time", _BATCH, (1.0,)),
    ("recompute", (1,), "recompute every block", _BATCH, (1.0,)),
    ("saved", ("bf16", "int8"), "saved tensors in {}", _BATCH, (0.5, 0.75)),
    ("weights", ("frozen-bf16", "nf4", "bf16"), "weights {}", frozenset(Category), (0.5, 0.9, 0.5)),
    ("optimizer", ("adamw8bit", "sgd"), "optimizer {}", _STATE, (0.75, 1.0)),
    ("r", (1,), "rank 1", _TUNED, (1.0,)),
    ("num_virtual_tokens", (1,), "1 virtual token", _TUNED, (1.0,)),
    ("blocks", (0,), "no block, the head alone", _TUNED, (1.0,)),
)
#: Values that are less state than the key's; a change never goes the other way.
_LIGHTER: Mapping[str, tuple[str, ...]] = {
    "adamw": ("adamw8bit", "sgd"),
    "momentum": ("sgd",),
    "adamw8bit": ("sgd",),
}

#: A change alone: its words, the changed case, and what it can lower by which share at most.
_Single = tuple[str, Case, frozenset[Category], float]


class Patience:
    """How long a search goes on looking, ended at once by ``cancel``.

    No prediction is begun once it is spent, and ``ran_out`` then says so.
    """

    def __init__(self, seconds: float = math.inf, cancel: threading.Event | None = None) -> None:
        self.seconds, self.cancel = seconds, cancel
        self.ran_out = False
        self._until = time.monotonic() + seconds

    def left(self) -> bool:
        """Whether another prediction may begin."""
        stopped = self.cancel is not None and self.cancel.is_set()
        self.ran_out = self.ran_out or stopped or time.monotonic() >= self._until
        return not self.ran_out

    @property
    def sentence(self) -> str:
        if self.seconds < 0.1:
            return "no time was left to look for ways out; asked again the search goes on"
        return f"the search for ways out stopped after {self.seconds:.2g} s; asked again it goes on"


def ways_out(
    case: Case,
    budget: int,
    tier: Tier | None = None,
    most: int = 2,
    *,
    profile: MemoryProfile | None = None,
    patience: Patience | None = None,
) -> Iterator[Change]:
    """Changes that make ``case`` fit, cheapest first; two at once only where no single one is enough.

    A change is not even predicted when what it cannot lower passes the budget by itself at the peak.
    """
    for change in _found(case, budget, tier, most, profile, patience):
        yield replace(change, options=options_of(case, change.case)) if change.case else change


def _found(
    case: Case, budget: int, tier: Tier | None, most: int, profile: MemoryProfile | None, patience: Patience | None
) -> Iterator[Change]:
    profile = profile or case.predict(tier)
    look = _Look(budget, case.tier(tier), patience or Patience())
    singles = list(_singles(case))
    able = [s for s in singles if _least(profile, s) <= budget]
    found = 0
    batch = _smaller_batch(case, look, profile)
    if batch is not None:
        yield batch
        found += 1
    for sentence, changed, *_ in able:
        if found >= most:
            return
        peak = look.peak(changed)
        if peak is not None and peak <= budget:
            recomputes = changed.config.recompute > case.config.recompute
            fewest = fewest_recomputed(case, budget, tier, look.patience) if recomputes else None
            yield fewest or Change(sentence, changed, peak)
            found += 1
    if not found:
        yield from _together(case, look, singles)


def fewest_recomputed(
    case: Case, budget: int, tier: Tier | None = None, patience: Patience | None = None
) -> Change | None:
    """The case with the fewest blocks recomputed in backward, from the front, that fits ``budget`` bytes.

    ``None`` where recomputing all of them is not enough, where the model has no blocks, or where patience runs out.
    Every further block lowers the peak but the last, which backward makes again at once; a bisection over the
    others finds the number. Each of its steps is one prediction.
    """
    count = block_count(case)
    cases = [_with(case, recompute_first=first) for first in range(1, count + 1)]
    if not cases:
        return None
    look = _Look(budget, case.tier(tier), patience or Patience())

    def fits(changed: Case) -> bool:
        peak = look.peak(changed)
        return peak is not None and peak <= budget

    least = bisect_left(cases, True, hi=count - 1, key=fits)
    peak = look.peak(cases[least])
    if peak is None or peak > budget:
        return None
    return Change(f"recompute the first {least + 1} of {count} blocks", cases[least], peak)


def block_count(case: Case) -> int:
    """How many blocks the model has; kept, because building a model to count them takes seconds of importing."""
    from workbench.predictions import kept

    def count() -> dict[str, int]:
        from workbench.models.structure import blocks

        return {"blocks": len(blocks(case.spec.build(case.task.classes(case.spec), device="meta", weights=False)))}

    return int(kept(case, Kind("blocks"), count)["blocks"])


@dataclass(frozen=True)
class _Look:
    """Predictions within a budget and some patience."""

    budget: int
    tier: Tier
    patience: Patience

    def profile(self, case: Case) -> MemoryProfile | None:
        """The prediction, if there can be one and there is time for it."""
        from workbench.predictions import known

        if not known(replace(case, accumulate=min(2, case.accumulate)), self.tier) and not self.patience.left():
            return None
        try:
            return predicted_step(case, self.tier)
        except PintpotError:
            return None

    def peak(self, case: Case) -> int | None:
        profile = self.profile(case)
        return None if profile is None else profile.peak


def _together(case: Case, look: _Look, singles: list[_Single]) -> Iterator[Change]:
    """The first fitting combination: the smallest batch with one change, then with ever more of them."""
    start, words = with_batch(case, 1), batch_words(with_batch(case, 1))
    if case.batch > 1:
        alone = look.profile(start)
        if alone is None:
            return
        for single in singles:
            sentence, one = single[0], with_batch(single[1], 1)
            peak = look.peak(one) if _least(alone, single) <= look.budget else None
            if peak is not None and peak <= look.budget:
                yield Change(f"{sentence} and {batch_words(one)}", one, peak)
                return
    said, all_of = [words] if case.batch > 1 else [], start
    for name in ("recompute", "optimizer", "weights", "saved"):
        options = [(s, c) for s, c, *_ in singles if c.settings.get(name) != case.settings.get(name)]
        for sentence, changed in options[-1:]:
            tried = _with(all_of, **{name: changed.settings[name]})
            peak = look.peak(tried)
            if peak is None:
                continue
            said, all_of = [sentence, *said], tried
            if peak <= look.budget and len(said) > 1:
                yield Change(" and ".join(said), tried, peak)
                return


def _singles(case: Case) -> Iterator[_Single]:
    for name, values, words, lowers, shares in _LEVERS:
        if name not in type(case.config).model_fields:
            continue
        if name == "lean_frozen" and case.spec.modality == "text":
            continue  # no convolution of two dimensions to build the model for
        now, default = getattr(case.config, name), type(case.config).model_fields[name].default
        for value, share in zip(values, shares, strict=True):
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
                    yield words.format(value), changed, lowers, share
            except PintpotError:
                continue  # a value that this config refuses


def _smaller_batch(case: Case, look: _Look, profile: MemoryProfile) -> Change | None:
    """The largest divisor of the batch that fits, so that a step keeps its examples.

    Begun where the fitted sizes say and verified by predictions.
    """
    if case.batch == 1 or _rest(profile, _BATCH) > look.budget or _between(case, profile) > look.budget:
        return None
    likely = _likely_batch(case, look, profile)
    for size in [d for d in divisors(case.batch) if d <= likely and d < case.batch][:4]:
        changed = with_batch(case, size)
        peak = look.peak(changed)
        if peak is None:
            return None
        if peak <= look.budget:
            return Change(batch_words(changed), changed, peak)
    return None


def _likely_batch(case: Case, look: _Look, profile: MemoryProfile) -> int:
    """The largest batch that should fit, 0 if none can."""
    per_example = max(1.0, sum(profile.by_category[c] for c in _BATCH) / case.batch)
    guess = max(1, case.batch - math.ceil((profile.peak - look.budget) / per_example))
    if not sizes_known(case, look.tier) and not look.patience.left():
        return guess
    try:
        sizes, length = sizes_of(case, look.tier), shape_of(case)[1]
        if sum(sizes.peak(1, length)[1].values()) > look.budget:
            return 0
        return sizes.largest_batch(look.budget, length, case.batch) or 1
    except PintpotError:
        return guess


def with_batch(case: Case, batch: int) -> Case:
    """``case`` with a smaller micro-batch, accumulated to as many examples a step where that is possible, else more."""
    if case.config.drops_gradients:
        return replace(case, batch=batch)
    return replace(case, batch=batch, accumulate=-(-case.batch * case.accumulate // batch))


def batch_words(case: Case) -> str:
    return micro_batches(case.batch, case.accumulate)


def micro_batches(batch: int, times: int) -> str:
    return f"batch {batch}" + (f" accumulated {times} times" if times > 1 else "")


def _between(case: Case, profile: MemoryProfile) -> int:
    """Bytes that stay between micro-batches: weights, optimizer state, and every gradient where any is accumulated."""
    held = profile.by_category.get(Category.WEIGHTS, 0) + profile.by_category.get(Category.OPTIMIZER, 0)
    if case.config.drops_gradients:
        return held
    return held + profile.by_phase.get(Phase.UPDATE, {}).get(Category.GRADIENTS, 0)


def _least(profile: MemoryProfile, single: _Single) -> int:
    """Bytes that a change leaves at the peak even where it takes away as much as it ever could."""
    _, _, lowers, share = single
    return profile.peak - int(share * (profile.peak - _rest(profile, lowers)))


def _rest(profile: MemoryProfile, lowers: frozenset[Category]) -> int:
    """Bytes at the peak that a change lowering only these categories leaves there."""
    return sum(size for category, size in profile.by_category.items() if category not in lowers)


def _with(case: Case, **settings: Any) -> Case:
    return replace(case, settings={**case.settings, **settings})
