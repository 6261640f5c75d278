"""What a search chooses to train at one budget after another, in bytes or in operations, and what it cost.

Three searches share one form: bytes of an update scheme (:mod:`workbench.studies.scheme_search`), operations of
GreenTrainer's choice (:mod:`workbench.parts.estimator.adaptive`) and SRAM of an integer net
(:mod:`workbench.studies.contribution`). At each budget the same parts are also taken from the output downwards, and by
chance: what a search is worth shows only beside those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.core.errors import BadInput

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.studies.contribution import Contributions

DRAWS = 8  #: choices by chance at each budget, whose mean stands beside the search
Cost = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Part:
    """What is chosen as one. ``worth`` is its share of the worth of all, ``alone`` its cost without any other.

    Of parts of one ``group`` at most one is taken; an empty group binds nobody.
    """

    label: str
    worth: float
    alone: int
    group: str = ""


@dataclass(frozen=True)
class Pick:
    """The choice at one budget, and what it costs. ``last`` and ``chance`` are the worth of the two plain choices.

    ``way`` is the choice as a method with settings; empty where no method takes it by name.
    """

    budget: int
    chosen: tuple[bool, ...]
    cost: int
    worth: float
    last: float
    chance: float
    way: str = ""


@dataclass(frozen=True)
class BudgetSearch:
    """Parts from the input to the output, and the picks, the smallest budget first. ``what`` is what a budget buys.

    ``worth`` says how worth was found. ``full`` is the cost of everything.
    """

    what: str
    unit: Literal["bytes", "FLOP"]
    worth: str
    parts: tuple[Part, ...]
    picks: tuple[Pick, ...]
    full: int


def searched_bytes(
    bench: Bench, *, budgets: int = 9, trials: int = 60, batches: int = 4, seed: int = 0
) -> BudgetSearch:
    """Update schemes at budgets between the head's own need and everything's: kept tensors and optimizer state.

    Bytes are those of the pruned graph of a step. Raises what :func:`workbench.studies.scheme_search.search_scheme`
    raises.
    """
    from workbench.core.profile import Category
    from workbench.studies import scheme_search as search

    needed = search.captured_needs(bench.case("full"))
    found = search.candidates_of(bench, needed, search.sensitivities(bench, batches=batches, seed=seed))
    least = min(found, key=lambda c: c.alone)
    of = search.KeptBytes(needed, found, search.always_trained(bench, needed, least))
    smallest = bench.case(search.METHOD, executor="graph", tensors=",".join(least.tensors)).predict()
    numbers = of.always_numbers + int(of.trained[found.index(least)].sum())
    state = smallest.by_category[Category.OPTIMIZER] / max(1, numbers)
    cost: Cost = lambda chosen: search.Room(0, state).cost(of, chosen)  # noqa: E731
    total = sum(c.sensitivity for c in found) or 1.0
    nothing = cost(np.zeros(len(found), dtype=bool))
    alone = [int(cost(np.arange(len(found)) == i) - nothing) for i in range(len(found))]
    parts = tuple(Part(c.label, c.sensitivity / total, a) for c, a in zip(found, alone))
    full = int(np.ceil(cost(np.ones(len(found), dtype=bool))))
    picks = []
    for budget in spread(nothing, full, budgets):
        chosen = search.evolved(found, of, search.Room(budget, state), trials, seed)[0]
        named = ",".join(t for c, pick in zip(found, chosen) if pick for t in c.tensors)
        pick = picked(parts, chosen, cost, budget)
        picks.append(replace(pick, way=f"{search.METHOD} executor=graph tensors={named}" if named else ""))
    what = "bytes kept for backward and of optimizer state"
    return BudgetSearch(what, "bytes", "sum of absolute gradients on real batches", parts, tuple(picks), full)


def searched_operations(bench: Bench, *, budgets: int = 9, seed: int = 0) -> BudgetSearch:
    """GreenTrainer's choice at targets between the first tensor's need and full tuning's operations of a step.

    Importance is that of one trial step on a real batch, after the first step of training.
    """
    from workbench.parts.estimator.adaptive import Adaptive
    from workbench.session import Session

    session = Session(bench.case("green-trainer", rho=1.0), seed, None, bench.schedule, bench.sizes)
    session.load()
    session.prepare()
    stream = session.case.task.batches(session.data, session.case.spec, session.case.batch, seed)
    session.training(next(stream), seed=seed)
    used: Any = session.training.parts.estimator
    choice, costs = used.choices[0], used.counted[0]
    known = dict(zip(choice.tensors, choice.importance))
    worth = np.array([known[name] for name in costs.names])
    share = np.maximum(worth, 0) / max(float(np.maximum(worth, 0).sum()), np.finfo(float).tiny)
    alone = [o + p for o, p in zip(costs.own, costs.path)]
    order = range(len(costs.names) - 1, -1, -1)  # costs go from the output down, parts from the input up
    parts = tuple(Part(costs.names[i], float(share[i]), alone[i]) for i in order)
    cost: Cost = lambda chosen: (  # noqa: E731
        costs.forward + costs.of([p.label for p, pick in zip(parts, chosen) if pick])
    )
    picks = []
    for budget in spread(costs.forward + costs.least, costs.full, budgets):
        rho = budget / costs.full
        estimator = Adaptive(rho=rho)
        taken = {costs.names[i] for i in estimator.best(worth, costs)}
        pick = picked(parts, np.array([p.label in taken for p in parts]), cost, budget)
        picks.append(replace(pick, way=f"green-trainer rho={rho:.4g}"))
    worth_is = "fall of the loss in a trial step"
    return BudgetSearch("operations of a step", "FLOP", worth_is, parts, tuple(picks), costs.full)


def searched_sram(
    bench: Bench, found: Contributions, *, budgets: int = 7, trials: int = 60, seed: int = 0, highest: int = 0
) -> BudgetSearch:
    """Biases and channels of weights of an integer net within bytes of SRAM, by the plan of its step on one example.

    ``highest`` is the largest budget; 0: what everything needs.
    """
    from workbench.lens.microcontroller import plan_step
    from workbench.studies.contribution import METHOD, Judge, search_bytes

    judge = Judge(bench, found, plan_step(bench.case(METHOD, biases=0, update="")).sram)
    asked = [("biases", k, f"last {k} biases", gain) for k, gain in found.biases.items()] + [
        (str(i), str(share), f"weight {i}, {_channels(share)}", gain) for (i, share), gain in found.weights.items()
    ]
    total = _most([(name, gain) for name, _, _, gain in asked]) or 1.0
    values = [(name, value) for name, value, _, _ in asked]

    def scheme(chosen: Iterable[bool]) -> Any:
        return judge.scheme({"biases": 0, **dict(v for v, pick in zip(values, chosen) if pick)})

    cost: Cost = lambda chosen: scheme(chosen).sram  # noqa: E731
    single = np.eye(len(asked), dtype=bool)
    parts = tuple(
        Part(label, gain / total, int(cost(one)) - judge.head, name)
        for one, (name, _, label, gain) in zip(single, asked)
    )
    full = int(plan_step(bench.case(METHOD, biases=500, update="all")).sram)
    picks = []
    for budget in spread(judge.head, min(highest or full, full), budgets):
        best = search_bytes(bench, found, int(budget), trials=trials, seed=seed, judge=judge)
        taken = {("biases", best.biases), *((str(i), str(share)) for i, share in best.weights.items())}
        pick = picked(parts, np.array([v in taken for v in values]), cost, budget)
        settings = best.settings
        way = f"{METHOD} biases={settings['biases']} update={settings['update'] or 'none'}"
        picks.append(replace(pick, way=way if settings["update"] else ""))
    what, worth_is = "SRAM of a step on one example", "gain in score, measured in runs"
    return BudgetSearch(what, "bytes", worth_is, parts, tuple(picks), full)


def _channels(share: Fraction) -> str:
    return "whole" if share == 1 else f"{share} of its input channels"


def _most(gains: Sequence[tuple[str, float]]) -> float:
    """The largest sum of gains, of each name at most one."""
    best: dict[str, float] = {}
    for name, gain in gains:
        best[name] = max(best.get(name, 0.0), gain)
    return sum(best.values())


def spread(low: float, high: float, count: int) -> list[int]:
    """``count`` budgets from the smallest that buys anything to everything, evenly. Raises ``BadInput``."""
    if count < 2:
        raise BadInput("budgets", count, "a whole number of at least 2")
    return [int(np.ceil(b)) for b in np.linspace(low, max(low, high), count)]


def picked(parts: Sequence[Part], chosen: np.ndarray, cost: Cost, budget: float) -> Pick:
    """The choice with its cost, and the worth of the two plain choices at the same budget."""
    draw = np.random.default_rng(0)
    by_chance = [filled(parts, draw.permutation(len(parts)), cost, budget) for _ in range(DRAWS)]
    last = filled(parts, range(len(parts) - 1, -1, -1), cost, budget, stop=True)
    return Pick(
        int(budget),
        tuple(map(bool, chosen)),
        int(cost(chosen)),
        _worth(parts, chosen),
        _worth(parts, last),
        float(np.mean([_worth(parts, one) for one in by_chance])),
    )


def filled(parts: Sequence[Part], order: Iterable[int], cost: Cost, budget: float, *, stop: bool = False) -> np.ndarray:
    """Parts taken in this order while they fit; ``stop`` at the first that does not."""
    chosen, groups = np.zeros(len(parts), dtype=bool), set()
    for index in order:
        if parts[index].group in groups:
            continue
        chosen[index] = True
        if cost(chosen) <= budget:
            groups |= {parts[index].group} - {""}
            continue
        chosen[index] = False
        if stop:
            break
    return chosen


def _worth(parts: Sequence[Part], chosen: Iterable[bool]) -> float:
    return float(sum(p.worth for p, pick in zip(parts, chosen) if pick))
