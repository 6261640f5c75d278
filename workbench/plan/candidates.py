"""Candidates of a plan: what the fitted sizes say of each, and the fastest one that a prediction confirms."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.core.errors import Incompatible, PintpotError, ResourceMissing
from workbench.core.profile import Category, MemoryProfile, Tier
from workbench.devices.roofline import roofline
from workbench.devices.work import Work
from workbench.plan.fitting import predicted_step, shape_of, sizes_of

if TYPE_CHECKING:
    from workbench.devices.model import Device

#: Axes that can lower what is held between steps; the others only lower what comes and goes in one.
_LOWER_STATE = frozenset({"method", "optimizer", "weights", "r", "num_virtual_tokens", "blocks"})

Point = tuple[Any, ...]  #: one value for each axis but the batch
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Candidate:
    """One point of the grid as the fitted sizes see it: ``peak`` (bytes) is at most what the step needs.

    ``speed`` is what is maximised.
    """

    case: Case
    peak: int
    speed: float


class Search:
    """Candidates of one grid. The sizes of each combination of settings answer all its batches at once."""

    def __init__(
        self,
        base: Case,
        device: Device,
        budget: int,
        grid: Grid,
        weigh: Callable[[Case], float],
        tier: Tier,
        observe: Callable[[str], None] | None,
        cancel: threading.Event | None,
    ) -> None:
        self.base, self.device, self.budget, self.weigh, self.tier = base, device, budget, weigh, tier
        grid = dict(grid)
        self.batches = list(dict.fromkeys(grid.pop("batch", [base.batch])))
        self.axes = list(grid)
        self.values = [list(dict.fromkeys(v)) for v in grid.values()]
        self.found: dict[Point, list[Candidate]] = {}
        self.observe, self.cancel = observe, cancel
        self.held: float = 0  #: the least weights and optimizer state at a peak so far, bytes
        self.checked = self.refuted = 0  #: predictions made to be sure of a candidate, and those that passed the budget

    @property
    def stopped(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()

    @property
    def size(self) -> int:
        """Candidates of the whole grid."""
        return len(self.batches) * math.prod(len(v) for v in self.values)

    def case(self, point: Point, batch: int) -> Case:
        """Smaller batches are accumulated to as many examples a step as the base takes, where that is possible."""
        values = dict(zip(self.axes, point, strict=True))
        method = values.pop("method", self.base.method_name)
        case = replace(self.base, method_name=method, settings={**self.base.settings, **values}, accumulate=1)
        steps = max(1, -(-self.base.batch * self.base.accumulate // batch))
        return replace(case, batch=batch, accumulate=1 if case.config.update_in_backward else steps)

    def at(self, point: Point) -> list[Candidate]:
        """Every batch with these settings; none where they cannot be predicted or the search was stopped."""
        if point not in self.found:
            if self.stopped:
                return []
            if self.observe is not None:
                self.observe(", ".join(f"{n} {v}" for n, v in zip(self.axes, point)) or self.base.method_name)
            self.found[point] = list(self._candidates(point))
        return self.found[point]

    def _candidates(self, point: Point) -> Iterator[Candidate]:
        for batch in self.batches:
            try:
                case = self.case(point, batch)
                peak, work = self._sized(point, case)
            except PintpotError:
                continue
            seconds = self._seconds(work, case.accumulate)
            # Without a speed every plan is as good: prefer large batches, which waste least.
            speed = case.batch * case.accumulate / seconds if seconds else case.batch * 1e-9
            yield Candidate(case, peak, speed * self.weigh(case))

    def _sized(self, point: Point, case: Case) -> tuple[int, Work]:
        """Peak and work of one micro-batch, by the fitted sizes where they can tell."""
        from workbench.predictions import counted

        sizes = sizes_of(replace(self.case(point, self.batches[0]), accumulate=1), self.tier)
        length = shape_of(case)[1]
        try:
            split = sizes.peak(case.batch, length)[1]
            self.held = min(self.held or math.inf, split[Category.WEIGHTS] + split[Category.OPTIMIZER])
            return sum(split.values()), sizes.counted(case.batch, length)
        except Incompatible:
            single = replace(case, accumulate=1)
            return single.predict(self.tier).peak, counted(single)

    def _seconds(self, work: Work, steps: int) -> float | None:
        """Roofline seconds of a step of several micro-batches with one update."""
        groups = {name: g if name == "optimizer" else g.times(steps) for name, g in work.groups.items()}
        try:
            return roofline(Work(groups), self.device).time.value
        except ResourceMissing:
            return None

    @property
    def hopeless(self) -> bool:
        """Whether weights and optimizer state alone pass the budget, and no axis of the grid could lower them."""
        return self.held > self.budget and not _LOWER_STATE & set(self.axes)

    def exhaustive(self) -> None:
        """Size every combination of settings, unless the first shows that none can fit."""
        for point in itertools.product(*self.values):
            if self.hopeless:
                return
            self.at(point)

    def climb(self) -> None:
        """From all levers off and all on: the best value of each axis in turn, until nothing gains."""
        ends = tuple(v[0] for v in self.values), tuple(v[-1] for v in self.values)
        for best in dict.fromkeys(ends):
            before = None
            while before != best and not self.stopped and not self.hopeless:
                before = best
                for i, values in enumerate(self.values):
                    moves = [(*best[:i], value, *best[i + 1 :]) for value in values]
                    best = max([best, *moves], key=self._best)

    def _best(self, point: Point) -> float:
        return max((c.speed for c in self.at(point) if c.peak <= self.budget), default=-math.inf)

    def verified(self) -> tuple[Candidate, MemoryProfile] | None:
        """The fastest candidate whose prediction fits; those whose single micro-batch passes are not even tried."""
        ranked = sorted(self.all(), key=lambda c: -c.speed)
        for candidate in ranked:
            if candidate.peak > self.budget:
                continue
            try:
                profile = predicted_step(candidate.case, self.tier)
            except PintpotError:
                continue
            self.checked += 1
            if profile.peak <= self.budget:
                return candidate, profile
            self.refuted += 1
        return None

    def all(self) -> list[Candidate]:
        """Every candidate that could be sized."""
        return [c for found in self.found.values() for c in found]
