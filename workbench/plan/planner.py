"""The planner: batch, accumulation, levers and settings of a method that train fastest within a budget."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, Incompatible, Interrupted, PintpotError
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_exactly, format_size
from workbench.plan.candidates import Grid, Search
from workbench.plan.fitting import predicted_step
from workbench.plan.verdict import cost
from workbench.records.schema import Quantity, RunRecord, State

if TYPE_CHECKING:
    from workbench.devices.model import Device

EXHAUSTIVE = 96  #: grids up to this many candidates are searched whole

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


@dataclass(frozen=True)
class Plan:
    """The best case found, verified: ``predicted`` fits the budget. ``score`` is what was maximised.

    ``throughput`` is examples per second; ``candidates`` the size of the grid, ``sized`` how many of it the fitted
    sizes ranked, ``verified`` how many were predicted to be sure, and ``exhaustive`` whether all were looked at.
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
    sized: int
    verified: int
    exhaustive: bool
    interrupted: bool = False

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
            "sized": self.sized,
            "verified": self.verified,
            "interrupted": self.interrupted,
            "exhaustive": self.exhaustive,
            "command": self.command,
        }


def plan(
    base: Case,
    device: Device,
    budget: int,
    *,
    grid: Grid | None = None,
    records: Iterable[RunRecord] | None = None,
    tier: Tier = Tier.PROBE,
    exhaustive_up_to: int = EXHAUSTIVE,
    observe: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """The fastest way to train ``base``'s method within ``budget`` bytes.

    Every combination of settings is sized once, which ranks all its batches; the winner is verified by a prediction
    of its own. ``grid`` maps ``batch``, ``method`` or any setting to values; by default :func:`default_grid`. The
    examples of a step stay those of ``base``. With ``records`` of finished runs the quality they gained per example
    weighs the throughput, so the objective is quality per second; without any it is examples per second.
    ``observe`` is told each combination before it is sized; once ``cancel`` is set no further one is, and the best so
    far is the answer. Raises ``BudgetExceeded`` naming the smallest peak found when nothing fits, ``Interrupted`` when
    it was stopped before anything was found.
    """
    grid = dict(default_grid(base) if grid is None else grid)
    gains = gained_per_example(records or (), base)
    weigh: Callable[[Case], float] = lambda case: gains.get(case.method_name, 0.0) if gains else 1.0  # noqa: E731
    search = Search(base, device, budget, grid, weigh, tier, observe, cancel)
    whole = search.size <= exhaustive_up_to
    if whole:
        search.exhaustive()
    else:
        search.climb()
    best = search.verified()
    if best is None:
        raise Interrupted("stopped before a plan was found") if search.stopped else _nothing(search)
    candidate, profile = best
    case, (time, energy) = candidate.case, cost(candidate.case, device)
    speed = Quantity(case.batch * case.accumulate / time.value if time.value else None, time.kind, time.note)
    objective = "quality gained per second, from recorded runs" if gains else "examples per second"
    score = Quantity(candidate.speed, "fitted", f"{objective}; {time.note}") if gains else speed
    return Plan(
        case=case,
        device=device.name,
        budget=budget,
        predicted=profile,
        step_time=time,
        step_energy=energy,
        throughput=speed,
        score=score,
        objective=objective,
        binds=_binds(search, case, profile),
        candidates=search.size,
        sized=len(search.all()),
        verified=search.checked,
        exhaustive=whole and not search.stopped,
        interrupted=search.stopped,
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


def _binds(search: Search, best: Case, profile: MemoryProfile) -> str:
    """What keeps the plan from being faster: the largest batch is reached, or which bytes stand in the way."""
    over = search.refuted + sum(c.peak > search.budget for c in search.all())
    spare = format_size(search.budget - profile.peak)
    if best.batch == max(search.batches) and not over:
        return f"nothing: every candidate fits, {spare} are spare, and speed alone decides"
    top = profile.binding_category
    return (
        f"memory: {over} candidates pass the budget; {format_size(profile.by_category[top])} of this plan's peak "
        f"is {top}, {spare} are spare"
    )


def _nothing(search: Search) -> PintpotError:
    if not search.all():
        return Incompatible("method", search.base.method_name, "none of the candidates can be predicted on this model")
    case = min(search.all(), key=lambda c: c.peak).case
    profile = predicted_step(case, search.tier)
    top, settings = profile.binding_category, "".join(f", {n} {v}" for n, v in case.settings.items())
    return BudgetExceeded(
        operator=profile.operator,
        module=profile.module,
        category=str(top),
        asked=profile.peak,
        live=0,
        limit=search.budget,
        ledger={str(c): size for c, size in profile.by_category.items()},
        sentence=(
            f"nothing in the grid fits {format_size(search.budget)}: the most frugal candidate seen (batch "
            f"{case.batch} x {case.accumulate}{settings}) needs {format_size(profile.peak)}, "
            f"{format_size(profile.by_category[top])} of it {top}; allow approximate levers or take another method."
        ),
    )
