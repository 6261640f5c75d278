"""The planner: batch, accumulation, levers and settings of a method that train fastest within a budget."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.core.errors import BadInput, BudgetExceeded, Incompatible, Interrupted, PintpotError
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.units import format_size
from workbench.methods.base import MethodConfig
from workbench.plan.candidates import Grid, Search
from workbench.plan.choice import Choice
from workbench.plan.fitting import predicted_step
from workbench.plan.planned import Other, Plan, settings_in_words
from workbench.plan.refusal import ways_found
from workbench.plan.verdict import cost
from workbench.plan.ways import block_count
from workbench.records.schema import Quantity, RunRecord, State

if TYPE_CHECKING:
    from workbench.devices.model import Device

EXHAUSTIVE = 24  #: grids up to this many candidates are sized whole
PATIENCE = 30.0  #: seconds after which a plan that fits is good enough
PACE = "laptop"  #: whose speeds rank where the device that was asked about has none
BLOCKS_TRIED = 6  #: numbers of recomputed blocks that are tried, evenly spread
OTHERS = 3  #: slower but smaller candidates that a plan names

#: Levers tried where the method's config has them; each list begins with "off".
LEVERS: Mapping[str, tuple[Any, ...]] = {
    "bit_masks": (False, True),
    "update_in_backward": (False, True),
    "chunked_loss": (0, 128),
    "channels_last": (False, True),
    "saved": ("as-is", "bf16", "int8"),
    "weights": ("as-loaded", "frozen-bf16", "nf4", "bf16"),
}
#: Levers that change what is computed; left alone unless asked for.
APPROXIMATE = ("saved", "weights")


def plan(
    base: Case,
    device: Device,
    budget: int,
    *,
    grid: Grid | None = None,
    records: Iterable[RunRecord] | None = None,
    tier: Tier | None = None,
    exhaustive_up_to: int = EXHAUSTIVE,
    patience: float = PATIENCE,
    observe: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Plan:
    """The fastest way to train ``base``'s method within ``budget`` bytes.

    Every single change is sized, and what several do together is composed from that, which ranks the whole grid at
    once; settings that look best are sized themselves, and the winner is verified by a prediction of its own.
    ``grid`` maps ``batch``, ``method`` or any setting to values, what changes nothing first; by default
    :func:`default_grid`. The examples of a step stay those of ``base``. With ``records`` of finished runs the quality
    they gained per example weighs the throughput, so the objective is quality per second; without any it is examples
    per second. After ``patience`` seconds the best that is sized and fits is the answer. ``observe`` is told each set
    of settings before it is sized; once ``cancel`` is set no further one is, and the best so far is the answer.
    Raises ``BudgetExceeded`` with the smallest peak found and ways out when nothing fits, ``Interrupted`` when it was
    stopped before anything was found, ``Incompatible`` with the method's reason when it cannot serve the model.
    """
    if not (grid and "method" in grid) and (refused := base.refused()) is not None:
        raise refused
    grid = dict(default_grid(base) if grid is None else grid)
    gains = gained_per_example(records or (), base)
    weigh = (lambda case: _gain(gains, case)) if gains else None
    tier = base.tier(tier)
    search = Search(base, _pace(device), budget, grid, weigh, tier, observe, cancel)
    choice = Choice(search, patience)
    whole = search.size <= exhaustive_up_to
    search.look(whole=whole)
    best = choice.best()
    if best is None:
        raise Interrupted("stopped before a plan was found") if search.stopped else _nothing(search, choice)
    candidate, profile = best
    case, (time, energy) = candidate.case, cost(candidate.case, device)
    if time.value is None and search.pace is not device:
        said = f"no speed is known of {device.name}, so candidates were ranked by those of {search.pace.name}"
        time = replace(time, note=f"{said}; `pintpot devices calibrate` measures this host")
    speed = Quantity(case.batch * case.accumulate / time.value if time.value else None, time.kind, time.note)
    objective = "quality gained per second, from recorded runs" if gains else "examples per second"
    score = Quantity(candidate.speed, "fitted", f"{objective}; {time.note}") if gains else speed
    over = _over(search, choice)
    others = itertools.islice(choice.smaller(profile), OTHERS)
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
        binds=_binds(search, over, case, profile),
        candidates=search.size,
        sized=search.count_sized(),
        verified=choice.checked,
        exhaustive=whole and not search.stopped,
        interrupted=search.stopped,
        hurried=choice.hurried,
        others=tuple(Other(c.case, p.peak, c.speed / candidate.speed) for c, p in others),
    )


def default_grid(
    base: Case, *, approximate: bool = False, vary: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Sequence[Any]]:
    """Batches that divide the base's own, by halves or less, and each of its levers that keeps the result as it is.

    ``approximate`` adds the levers that do not. ``vary`` adds settings of the method, such as a rank, with the values
    to try. Raises ``BadInput`` for a setting that the method has not, or a value it refuses.
    """
    for name, values in (vary or {}).items():
        if not list(values):
            raise BadInput(name, list(values), "at least one value")
        for value in values:
            base.method.configure(**{**base.settings, name: value})
    batches = [base.batch]
    while batches[-1] > 1:
        batches.append(next(b for b in range(batches[-1] // 2, 0, -1) if base.batch % b == 0))
    grid: dict[str, Sequence[Any]] = {"batch": batches}
    for name, values in ({"recompute_first": _blocks(base)} | dict(LEVERS)).items():
        if name in type(base.config).model_fields and name not in base.settings:
            off = getattr(base.config, name) == values[0]
            usable = [values[0], *(v for v in values[1:] if off and _serves(base, name, v))]
            if len(usable) > 1 and (approximate or name not in APPROXIMATE):
                grid[name] = usable
    for name, values in (vary or {}).items():
        own = getattr(base.config, name)
        grid[name] = [own, *(v for v in values if v != own)] if own in values else list(values)
    return grid


def _blocks(base: Case) -> tuple[int, ...]:
    """Numbers of first blocks to recompute: none, and up to all but the last, which gains nothing."""
    if base.config.recompute or base.refusal() is not None or not _serves(base, "recompute_first", 1):
        return (0,)
    count = block_count(base)
    if not count:
        return (0,)
    most = max(1, count - 1)
    return (0, *dict.fromkeys(math.ceil(most * i / BLOCKS_TRIED) for i in range(1, BLOCKS_TRIED + 1)))


def _pace(device: Device) -> Device:
    """The device whose speeds rank candidates: its own, else those of a usual machine."""
    from workbench.devices.model import get

    return device if device.throughput and device.memory.bandwidth is not None else get(PACE)


Gains = Mapping[str, list[tuple[Mapping[str, Any], float]]]


def gained_per_example(records: Iterable[RunRecord], base: Case) -> Gains:
    """Score gained per training example of finished runs on this task and model: (settings, gain) by method."""
    found: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    for record in records:
        same = record.task == base.task_name and record.model == base.model_name and record.state is State.DONE
        value, before = record.score.get("value"), record.score_before.get("value")
        seen = len(record.steps) * record.examples
        if same and seen and value is not None:
            gained = value - (before or 0.0) if not record.score.get("lower_is_better") else (before or value) - value
            found.setdefault(record.method, []).append((record.config, max(0.0, gained / seen)))
    return found


def _gain(gains: Gains, case: Case) -> float:
    """What an example was worth to runs of this method, those whose numeric settings are nearest counted alone."""
    runs = gains.get(case.method_name, [])
    own = case.config.model_dump()
    if not runs:
        return 0.0
    aside = MethodConfig.model_fields.keys() - {"optimizer"}
    far = [sum(_apart(own.get(n), v) for n, v in config.items() if n not in aside) for config, _ in runs]
    return mean(gain for (_, gain), distance in zip(runs, far) if distance == min(far))


def _apart(one: Any, other: Any) -> float:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in (one, other))
    return abs(math.log2(one / other)) if numbers else float(one != other)


def _serves(base: Case, name: str, value: Any) -> bool:
    try:
        return replace(base, settings={**base.settings, name: value}).refusal() is None
    except PintpotError:
        return False


def _over(search: Search, choice: Choice) -> int:
    """Candidates that pass the budget, by their sizes or by a prediction."""
    return choice.refuted + int((search.peaks() > search.budget).sum())


def _binds(search: Search, over: int, best: Case, profile: MemoryProfile) -> str:
    """What keeps the plan from being faster: the largest batch is reached, or which bytes stand in the way."""
    spare = format_size(search.budget - profile.peak)
    if best.batch == max(search.batches) and not over:
        return f"nothing: every candidate fits, {spare} are spare, and speed alone decides"
    top = profile.binding_category
    return (
        f"memory: {over} of {search.size} candidates pass the budget; {format_size(profile.by_category[top])} of this "
        f"plan's peak is {top}, {spare} are spare"
    )


def _nothing(search: Search, choice: Choice) -> PintpotError:
    case = choice.frugal()
    if case is None:
        return Incompatible("method", search.base.method_name, "none of the candidates can be predicted on this model")
    profile = predicted_step(case, search.tier)
    top = profile.binding_category
    seen = (
        f"weights and optimizer state alone are {format_size(search.held)}"
        if search.hopeless
        else f"the most frugal candidate seen ({settings_in_words(case)}) needs {format_size(profile.peak)}, "
        f"{format_size(profile.by_category[top])} of it {top}"
    )
    ways, note = ways_found(search.base, search.budget, cancel=search.cancel, tier=search.tier)
    if not note and not set(APPROXIMATE) & set(search.axes):
        note = "levers that pack or narrow numbers are planned with only when asked for, by --approximate"
    where = f"that was looked at in {2 * choice.patience:g} s" if choice.gave_up else "in the grid"
    return BudgetExceeded(
        operator=profile.operator,
        module=profile.module,
        category=str(top),
        asked=profile.peak,
        live=0,
        limit=search.budget,
        ledger={str(c): size for c, size in profile.by_category.items()},
        suggestions=ways,
        note=note,
        sentence=f"nothing {where} fits {format_size(search.budget)}: {seen}.",
    )
