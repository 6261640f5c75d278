"""The planner: batch, accumulation, levers and settings of a method that train fastest within a budget."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, Incompatible, PintpotError
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_exactly, format_size
from workbench.plan import cost
from workbench.records.schema import Quantity, RunRecord, State

if TYPE_CHECKING:
    from workbench.devices.model import Device

EXHAUSTIVE = 48  #: grids up to this many candidates are searched whole

#: Levers tried where the method's config has them; each list begins with "off".
LEVERS: Mapping[str, tuple[Any, ...]] = {
    "recompute": (0, 1),
    "bit_masks": (False, True),
    "update_in_backward": (False, True),
    "chunked_loss": (0, 128),
    "channels_last": (False, True),
    "saved": ("as-is", "bf16", "int8"),
    "weights": ("as-loaded", "frozen-bf16", "nf4", "bf16"),
}
#: Levers that change what is computed; left alone unless asked for.
APPROXIMATE = ("saved", "weights")

Point = tuple[Any, ...]
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Plan:
    """The best case found, verified: ``predicted`` fits the budget. ``score`` is what was maximised.

    ``throughput`` is examples per second; ``candidates`` the size of the grid, ``predicted_cases`` how many of it
    were predicted, and ``exhaustive`` whether that settles the matter.
    """

    case: Case
    device: str
    budget: int
    predicted: MemoryProfile
    step_time: Quantity
    step_energy: Quantity
    throughput: Quantity
    score: Quantity
    objective: str
    binds: str
    candidates: int
    predicted_cases: int
    exhaustive: bool

    @property
    def command(self) -> str:
        """The command that trains by this plan."""
        case = self.case
        words = ["pintpot", "run", "--task", case.task_name, "--model", case.model_name, "--method", case.method_name]
        words += ["--device", self.device, "--budget", format_exactly(self.budget), "--batch", str(case.batch)]
        words += ["--accumulate", str(case.accumulate)] if case.accumulate > 1 else []
        words += ["--length", str(case.length)] if case.length is not None else []
        for name, value in case.settings.items():
            words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; sizes in bytes, times in seconds."""
        case = self.case
        return {
            "method": case.method_name,
            "settings": dict(case.settings),
            "batch": case.batch,
            "accumulate": case.accumulate,
            "length": case.length,
            "budget": self.budget,
            "predicted": {"peak": self.predicted.peak, "by_category": dict(self.predicted.by_category)},
            "source": str(self.predicted.source),
            "step_time": vars(self.step_time),
            "step_energy": vars(self.step_energy),
            "throughput": vars(self.throughput),
            "objective": self.objective,
            "score": vars(self.score),
            "binds": self.binds,
            "candidates": self.candidates,
            "predicted_cases": self.predicted_cases,
            "exhaustive": self.exhaustive,
            "command": self.command,
        }


class _Search:
    """Candidates of one grid, each predicted at most once. A point is one value per axis, the batch first."""

    def __init__(self, base: Case, device: Device, budget: int, grid: Grid, weigh: Callable[[Case], float], tier: Tier):
        self.base, self.device, self.budget, self.weigh, self.tier = base, device, budget, weigh, tier
        self.axes = list(grid)
        self.values = [list(dict.fromkeys(grid[name])) for name in self.axes]
        self.seen: dict[Point, float] = {}
        self.peaks: dict[Point, int] = {}

    def case(self, point: Point) -> Case:
        """Smaller batches are accumulated to as many examples a step as the base takes, where that is possible."""
        values = dict(zip(self.axes, point, strict=True))
        batch = values.pop("batch", self.base.batch)
        method = values.pop("method", self.base.method_name)
        case = replace(self.base, method_name=method, settings={**self.base.settings, **values}, accumulate=1)
        steps = max(1, -(-self.base.batch * self.base.accumulate // batch))
        return replace(case, batch=batch, accumulate=1 if case.config.update_in_backward else steps)

    def score(self, point: Point) -> float:
        """What is maximised; minus infinity where the case does not fit or is none."""
        if point not in self.seen:
            self.seen[point] = self._score(point)
        return self.seen[point]

    def _score(self, point: Point) -> float:
        try:
            case = self.case(point)
            peak = self.peaks[point] = case.predict(self.tier).peak
        except PintpotError:
            return -math.inf
        if peak > self.budget:
            return -math.inf
        seconds = cost(case, self.device)[0].value
        # Without a speed every plan is as good: prefer large batches, which waste least.
        speed = case.batch * case.accumulate / seconds if seconds else case.batch * 1e-9
        return speed * self.weigh(case)

    def exhaustive(self) -> Point:
        return max(itertools.product(*self.values), key=self.score)

    def climb(self) -> Point:
        """From the base and from the smallest batch: best of each axis together with the batch, until nothing gains."""
        first = tuple(v[0] for v in self.values)
        small = (
            self._moved(first, {"batch": min(self.values[self.axes.index("batch")])}) if "batch" in self.axes else first
        )
        frugal = tuple(v[0] if n == "batch" else v[-1] for n, v in zip(self.axes, self.values, strict=True))
        return max((self._climb(p) for p in dict.fromkeys((first, small, frugal))), key=self.score)

    def _climb(self, point: Point) -> Point:
        best = point
        while True:
            for name in self.axes:
                together = (name, "batch") if name != "batch" and "batch" in self.axes else (name,)
                lists = [self.values[self.axes.index(n)] for n in together]
                moves = [self._moved(best, dict(zip(together, v, strict=True))) for v in itertools.product(*lists)]
                best = max([best, *moves], key=self.score)
            if best == point:
                return best
            point = best

    def _moved(self, point: Point, changes: Mapping[str, Any]) -> Point:
        return tuple(changes.get(name, value) for name, value in zip(self.axes, point, strict=True))


def plan(
    base: Case,
    device: Device,
    budget: int,
    *,
    grid: Grid | None = None,
    records: Iterable[RunRecord] | None = None,
    tier: Tier = Tier.PROBE,
    exhaustive_up_to: int = EXHAUSTIVE,
) -> Plan:
    """The fastest way to train ``base``'s method within ``budget`` bytes, every candidate verified by a prediction.

    ``grid`` maps ``batch``, ``method`` or any setting to values; by default :func:`default_grid`. The examples of
    a step stay those of ``base``. With ``records`` of finished runs the quality they gained per example weighs the
    throughput, so the objective is quality per second; without any the objective is examples per second. Raises
    ``BudgetExceeded`` naming the smallest peak found when nothing fits.
    """
    grid = dict(default_grid(base) if grid is None else grid)
    gains = gained_per_example(records or (), base)
    weigh: Callable[[Case], float] = lambda case: gains.get(case.method_name, 0.0) if gains else 1.0  # noqa: E731
    search = _Search(base, device, budget, grid, weigh, tier)
    candidates = math.prod(len(v) for v in search.values)
    whole = candidates <= exhaustive_up_to
    best = search.exhaustive() if whole else search.climb()
    if search.score(best) == -math.inf:
        raise _nothing(search)
    case = search.case(best)
    profile, (time, energy) = case.predict(tier), cost(case, device)
    examples = case.batch * case.accumulate
    speed = Quantity(examples / time.value if time.value else None, time.kind, time.note)
    objective = "quality gained per second, from recorded runs" if gains else "examples per second"
    score = Quantity(search.score(best), "fitted", f"{objective}; {time.note}") if gains else speed
    binds = _binds(search, best, profile)
    tried = len(search.seen)
    return Plan(
        case, device.name, budget, profile, time, energy, speed, score, objective, binds, candidates, tried, whole
    )


def default_grid(base: Case, *, approximate: bool = False) -> dict[str, Sequence[Any]]:
    """Batches by halves from the base's own, and each lever the config has that keeps the result as it is."""
    batches = [base.batch]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    grid: dict[str, Sequence[Any]] = {"batch": batches}
    for name, values in LEVERS.items():
        if name in type(base.config).model_fields and name not in base.settings:
            usable = [values[0], *(v for v in values[1:] if _serves(base, name, v))]
            if len(usable) > 1 and (approximate or name not in APPROXIMATE):
                grid[name] = usable
    return grid


def gained_per_example(records: Iterable[RunRecord], base: Case) -> dict[str, float]:
    """Score gained per training example by method, over finished runs on this task and model."""
    found: dict[str, list[float]] = {}
    for record in records:
        same = record.task == base.task_name and record.model == base.model_name and record.state is State.DONE
        value, before = record.score.get("value"), record.score_before.get("value")
        seen = len(record.steps) * record.batch
        if same and seen and value is not None and not record.score.get("lower_is_better"):
            found.setdefault(record.method, []).append((value - (before or 0.0)) / seen)
    return {method: max(mean(gains), 0.0) for method, gains in found.items()}


def _serves(base: Case, name: str, value: Any) -> bool:
    try:
        return replace(base, settings={**base.settings, name: value}).refusal() is None
    except PintpotError:
        return False


def _binds(search: _Search, best: Point, profile: MemoryProfile) -> str:
    """What keeps the plan from being faster: the largest batch is reached, or which bytes stand in the way."""
    largest = (
        search.case(best).batch == max(search.values[search.axes.index("batch")]) if "batch" in search.axes else True
    )
    over = [p for p, peak in search.peaks.items() if peak > search.budget]
    spare = format_size(search.budget - profile.peak)
    if largest and not over:
        return f"nothing: every candidate fits, {spare} are spare, and speed alone decides"
    top = profile.binding_category
    return (
        f"memory: {len(over)} candidates pass the budget; {format_size(profile.by_category[top])} of this plan's peak "
        f"is {top}, {spare} are spare"
    )


def _nothing(search: _Search) -> PintpotError:
    if not search.peaks:
        return Incompatible("method", search.base.method_name, "none of the candidates can be predicted on this model")
    point = min(search.peaks, key=lambda p: search.peaks[p])
    profile = search.case(point).predict(search.tier)
    return BudgetExceeded(
        operator=profile.operator,
        module=profile.module,
        category=str(profile.binding_category),
        asked=profile.peak,
        live=0,
        limit=search.budget,
        ledger={str(c): size for c, size in profile.by_category.items()},
        suggestions=(f"the most frugal candidate needs {format_size(profile.peak)}",),
    )
