"""Candidates of a plan: sized for every single change, composed for all others."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.case import Case
from workbench.core.errors import Incompatible, PintpotError, ResourceMissing
from workbench.core.profile import Category, Tier
from workbench.devices.roofline import roofline
from workbench.devices.work import Work
from workbench.plan.composed import CATEGORIES, PHASES, Composed, Seen, worth_seeing
from workbench.plan.fitting import shape_of, sizes_of

if TYPE_CHECKING:
    from workbench.devices.model import Device

#: Axes that only lower what comes and goes in a step; any other may lower what is held between steps.
_PASSING = frozenset(
    {"recompute", "recompute_first", "bit_masks", "update_in_backward", "chunked_loss", "channels_last", "saved"}
)

Place = tuple[int, ...]  #: of one value on each axis but the batch
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Candidate:
    """One point of the grid. ``peak`` is bytes, with all gradients live between micro-batches; ``speed`` what is
    maximised; ``sized`` whether both come from sizes of these very settings, not from single changes composed."""

    case: Case
    peak: int
    speed: float
    sized: bool


@dataclass
class Search:
    """Candidates of one grid under a budget in bytes.

    ``pace`` is the device whose speeds rank, which need not be the one that was asked about; ``weigh`` is what the
    throughput of a case is worth, ``None`` for all the same.
    """

    base: Case
    pace: Device
    budget: int
    grid: Grid
    weigh: Callable[[Case], float] | None
    tier: Tier
    observe: Callable[[str], None] | None = None
    cancel: threading.Event | None = None
    sized: dict[Place, Seen | None] = field(default_factory=dict)
    held: float = math.inf  #: the least weights and optimizer state at a peak so far, bytes

    def __post_init__(self) -> None:
        grid = dict(self.grid)
        self.batches = list(dict.fromkeys(grid.pop("batch", [self.base.batch])))
        self.axes = list(grid)
        self.values = [list(dict.fromkeys(v)) for v in grid.values()]
        self.composed = Composed(self.values, len(self.batches))

    @property
    def stopped(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()

    @property
    def size(self) -> int:
        """Candidates of the whole grid."""
        return len(self.batches) * math.prod(len(v) for v in self.values)

    @property
    def hopeless(self) -> bool:
        """Whether weights and optimizer state alone pass the budget, and no axis of the grid could lower them."""
        return math.isfinite(self.held) and self.held > self.budget and set(self.axes) <= _PASSING

    def case(self, place: Place, batch: int) -> Case:
        """Smaller batches are accumulated to as many examples a step as the base takes, where that is possible."""
        values = {name: v[i] for name, v, i in zip(self.axes, self.values, place)}
        method = values.pop("method", self.base.method_name)
        plain = replace(self.base, method_name=method, accumulate=1)
        changed = {n: v for n, v in values.items() if getattr(plain.config, n, None) != v}
        case = replace(plain, settings={**plain.settings, **changed}, batch=batch)
        steps = max(1, -(-self.base.batch * self.base.accumulate // batch))
        return case if case.config.drops_gradients else replace(case, accumulate=steps)

    # -- sizing ----------------------------------------------------------------------------------------

    def singles(self) -> list[Place]:
        """The base point, then every single change from it that has to be seen."""
        zero = (0,) * len(self.axes)
        return [zero, *(_moved(zero, i, v) for i, vs in enumerate(self.values) for v in worth_seeing(vs) if v)]

    def look(self, *, whole: bool) -> None:
        """Size the single changes, or every point, and compose what was not sized."""
        from workbench.plan.ahead import second_process

        singles = self.singles()
        places = list(itertools.product(*(range(len(v)) for v in self.values))) if whole else singles
        if not self.stopped:
            self.at(places[0])  # alone: it may show already that nothing can fit
        with second_process(self.tier) as second:
            if not (self.hopeless or self.stopped):
                second.sizes(self._cases(places[1:]))
            for place in places[1:]:
                if self.stopped or self.hopeless:
                    break
                self.at(place)
        base = self.sized.get(singles[0])
        if base is not None and not whole:
            self.composed.compose(base, dict(self._changes()))
        for place, seen in self.sized.items():
            self.composed.put(place, seen)

    def _cases(self, places: Sequence[Place]) -> list[Case]:
        """The cases whose sizes answer for these places."""
        found = []
        for place in places:
            with contextlib.suppress(PintpotError):
                found.append(replace(self.case(place, self.batches[0]), accumulate=1))
        return found

    def _changes(self) -> Iterator[tuple[tuple[int, int], Seen]]:
        for place, seen in self.sized.items():
            if seen is not None and sum(v > 0 for v in place) == 1:
                axis = next(i for i, v in enumerate(place) if v)
                yield (axis, place[axis]), seen

    def at(self, place: Place) -> Seen | None:
        """Sizes of these settings at every batch; ``None`` where they cannot be predicted."""
        if place not in self.sized:
            if self.observe is not None:
                self.observe(self._words(place))
            found = [self._seen(place, batch) for batch in self.batches]
            known = any(f is not None for f in found)
            self.sized[place] = _stacked(found) if known else None
            self.composed.put(place, self.sized[place])
        return self.sized[place]

    def _words(self, place: Place) -> str:
        changed = [f"{n} {v[i]}" for n, v, i in zip(self.axes, self.values, place) if i]
        return ", ".join(changed) or self.base.method_name

    def _seen(self, place: Place, batch: int) -> tuple[np.ndarray, float, float] | None:
        """One micro-batch, by the fitted sizes where they can tell."""
        from workbench.predictions import counted

        try:
            case = replace(self.case(place, batch), accumulate=1)
            sizes = sizes_of(replace(case, batch=self.batches[0]), self.tier)
            length = shape_of(case)[1]
            try:
                live, work = sizes.by_phase(batch, length), sizes.counted(batch, length)
            except Incompatible:
                profile = case.predict(self.tier)
                live = {str(p): np.array([s.get(c, 0) for c in CATEGORIES]) for p, s in profile.by_phase.items()}
                work = counted(case)
        except PintpotError:
            return None
        rows = np.stack([live.get(phase, np.zeros(len(CATEGORIES))) for phase in PHASES])
        top = rows[rows.sum(axis=1).argmax()]
        state = top[CATEGORIES.index(Category.WEIGHTS)] + top[CATEGORIES.index(Category.OPTIMIZER)]
        self.held = min(self.held, float(state))
        update = {n: g for n, g in work.groups.items() if n == "optimizer"}
        micro = {n: g for n, g in work.groups.items() if n != "optimizer"}
        return rows, self._seconds(Work(micro)), self._seconds(Work(update))

    def _seconds(self, work: Work) -> float:
        try:
            return roofline(work, self.pace).time.value or 0.0
        except ResourceMissing:
            return math.nan

    # -- what is known of each candidate -----------------------------------------------------------------

    @cached_property
    def steps(self) -> np.ndarray:
        """Micro-batches of a step, (axis, ..., batch)."""
        wanted = [max(1, -(-self.base.batch * self.base.accumulate // b)) for b in self.batches]
        found: np.ndarray = np.ones(self.composed.micro.shape) * np.array(wanted)
        if "method" not in self.axes and self.base.config.drops_gradients:
            found[:] = 1
        for i, name in enumerate(self.axes):
            if name in ("update_in_backward", "method"):
                for v in range(len(self.values[i])):
                    if self._updates_inside(i, v):
                        found[(slice(None),) * i + (v,)] = 1
        return found

    def _updates_inside(self, axis: int, value: int) -> bool:
        try:
            place = _moved((0,) * len(self.axes), axis, value)
            return bool(self.case(place, self.batches[0]).config.drops_gradients)
        except PintpotError:
            return False

    @cached_property
    def _weights(self) -> np.ndarray:
        """What the throughput of each candidate is worth, (axis, ..., batch)."""
        found = np.ones(self.composed.micro.shape)
        if self.weigh is not None:
            for place in itertools.product(*(range(len(v)) for v in self.values)):
                try:
                    found[place] = self.weigh(self.case(place, self.batches[0]))
                except PintpotError:
                    found[place] = math.nan
        return found

    def peaks(self) -> np.ndarray:
        """Bytes, (axis, ..., batch); what could not be sized is not a number."""
        return self.composed.peaks(self.steps)

    def speeds(self) -> np.ndarray:
        """What is maximised, (axis, ..., batch)."""
        seconds, examples = self.composed.seconds(self.steps), self.steps * np.array(self.batches)
        # Without a speed every plan is as good: prefer large batches, which waste least.
        speed = np.where(np.isnan(seconds), examples * 1e-9, examples / seconds)
        return np.where(np.isnan(self.peaks()), np.nan, speed * self._weights)

    def count_sized(self) -> int:
        """Candidates whose own settings were sized."""
        return int(np.count_nonzero(self.known() & ~np.isnan(self.peaks())))

    def known(self) -> np.ndarray:
        """Whether the settings of each candidate were sized themselves, (axis, ..., batch)."""
        found = np.zeros(self.composed.micro.shape, dtype=bool)
        for place in self.sized:
            found[place] = True
        return found

    def candidate(self, index: tuple[int, ...]) -> Candidate:
        """The candidate at an index of these arrays."""
        case = self.case(index[:-1], self.batches[index[-1]])
        return Candidate(case, int(self.peaks()[index]), float(self.speeds()[index]), bool(self.known()[index]))


def _moved(place: Place, axis: int, value: int) -> Place:
    return (*place[:axis], value, *place[axis + 1 :])


def _stacked(found: Sequence[tuple[np.ndarray, float, float] | None]) -> Seen:
    empty = np.full((len(PHASES), len(CATEGORIES)), np.nan), math.nan, math.nan
    rows, micro, update = zip(*(f or empty for f in found))
    return Seen(np.stack(rows), np.array(micro), np.array(update))
