"""Backpropagation that stays within a share of full tuning's operations by training the tensors that are worth most."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import is_at_its_most, seldom
from workbench.core.seeds import derive
from workbench.engine.backward_costs import BackwardCosts, backward_costs
from workbench.engine.capture import NotCaptured, capture
from workbench.engine.path_knapsack import best_choice
from workbench.engine.prune import prune
from workbench.engine.spending import filled
from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop
from workbench.parts.estimator.masked import MaskedUpdates
from workbench.parts.trial import importances

_KEPT = 8  #: cases whose costs are kept in this process
_latest: OrderedDict[tuple[Any, ...], BackwardCosts] = OrderedDict()


@dataclass(frozen=True)
class Choice:
    """What trains from a ``step`` on. ``cost`` and ``budget`` are operations of one backward pass, ``forward`` those
    of a forward pass, ``full`` those of a step of full tuning, ``selecting`` those that the choice itself took.

    ``tensors`` are all that can train, from the output downwards, with ``importance`` (1 for the greatest) and whether
    they were ``chosen``.
    """

    step: int
    epoch: int
    budget: int
    cost: int
    forward: int
    full: int
    selecting: int
    tensors: tuple[str, ...]
    importance: tuple[float, ...]
    chosen: tuple[bool, ...]

    @property
    def share(self) -> float:
        """Operations of a step as a share of full tuning's."""
        return (self.forward + self.cost) / self.full

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Adaptive:
    """Every ``interval`` epochs (0: once) the tensors are chosen anew on the batch at hand, by ``select``:

    ``importance`` (see :mod:`workbench.parts.trial`), at ``random``, or the ``last`` ones. ``rho`` is the share of the
    operations of full tuning that a step may take. With ``fill`` what importance leaves of it goes to the tensors of
    least harm, so that ways of choosing compare at equal operations. ``whole_path`` false leaves the way down out of
    the costs, and ``only_chosen`` false computes every gradient and drops the others: two lazy ways that pass the
    target.

    A step at its most is the one that chooses, with optimizer state for all that can be reached: no step needs more.
    """

    uses_backward: ClassVar[bool] = True

    rho: float = 0.5
    interval: int = 1
    select: str = "importance"
    units: int = 20_000
    whole_path: bool = True
    only_chosen: bool = True
    fill: bool = True
    choices: list[Choice] = field(default_factory=list, compare=False)
    counted: list[BackwardCosts] = field(default_factory=list, compare=False, repr=False)
    _taken: list[int] = field(default_factory=lambda: [0], compare=False, repr=False)

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change: costs are counted on the first batch, which shows the shapes."""

    def remembered(self) -> dict[str, Any]:
        return {"choices": [choice.to_dict() for choice in self.choices], "taken": self._taken[0]}

    def remember(self, state: dict[str, Any]) -> None:
        lists = ("tensors", "importance", "chosen")
        self.choices[:] = [Choice(**c | {name: tuple(c[name]) for name in lists}) for c in state["choices"]]
        self._taken[0] = state["taken"]

    def step(self, step: Step) -> Tensor:
        costs = self._counting(step)
        if is_at_its_most():
            chosen = self._at_most(step, costs)
        else:
            due = not self.choices or (self.interval and step.epoch >= self.choices[-1].epoch + self.interval)
            if due:
                self.choices.append(self._choose(step, costs))
            latest = self.choices[-1]
            self._taken[0] += 1
            chosen = [n for n, pick in zip(latest.tensors, latest.chosen) if pick]
        return self._train(step, chosen)

    def _train(self, step: Step, chosen: Sequence[str]) -> Tensor:
        if self.only_chosen:
            with _training_only(step, chosen):
                return Backprop().step(step)
        for name, parameter in step.model.named_parameters():
            parameter.masked = name not in chosen  # type: ignore[attr-defined]
        return Backprop().step(MaskedUpdates(step))

    # -- what a step costs ---------------------------------------------------------------------------------

    def _counting(self, step: Step) -> BackwardCosts:
        """Costs by tensor, counted once; refuses a target that not even one matrix fits."""
        if not self.counted:
            costs = _costs(step)
            least = costs.forward + costs.least
            if costs.forward + self.budget_of(costs) < least:
                raise Incompatible("method", f"green-trainer rho={self.rho:g}", _shortfall(self.rho, costs))
            self.counted.append(costs)
        return self.counted[0]

    def budget_of(self, costs: BackwardCosts) -> int:
        """Operations that are left for the backward pass."""
        return int(self.rho * costs.full) - costs.forward

    def usable(self, costs: BackwardCosts) -> list[int]:
        """Places of tensors whose gradient alone keeps the target; no other can be chosen."""
        way, budget = costs.path if self.whole_path else [0] * len(costs.names), self.budget_of(costs)
        return [place for place, (o, p) in enumerate(zip(costs.own, way)) if o + p <= budget]

    def _reachable(self, step: Step, costs: BackwardCosts) -> dict[str, nn.Parameter]:
        tensors = dict(step.model.named_parameters())
        return {costs.names[i]: tensors[costs.names[i]] for i in self.usable(costs)}

    # -- choosing ------------------------------------------------------------------------------------------

    def _choose(self, step: Step, costs: BackwardCosts) -> Choice:
        worth, selecting = np.zeros(len(costs.names)), 0
        if self.select == "importance":
            reachable = self._reachable(step, costs)
            with _training_only(step, reachable):
                found = importances(step, reachable)
            worth = np.array([float(found[n]) if n in found else 0.0 for n in costs.names])
            worth /= max(np.abs(worth).max(), np.finfo(float).tiny)
            selecting = 2 * (costs.forward + costs.of(reachable))
            places = self.best(worth, costs) or self._stand_in(costs)
        elif self.select == "random":
            drawn = np.random.default_rng(derive(step.seed, "choice"))
            places = filled(costs, drawn.permutation(self.usable(costs)), self.budget_of(costs))
        else:
            places = filled(costs, self.usable(costs), self.budget_of(costs))
        chosen = [costs.names[i] for i in places]
        picked = tuple(i in set(places) for i in range(len(costs.names)))
        return Choice(
            self._taken[0], step.epoch, self.budget_of(costs), costs.of(chosen) if self.only_chosen else costs.backward,
            costs.forward, costs.full, selecting, costs.names, tuple(float(f"{w:.4g}") for w in worth), picked,
        )  # fmt: skip

    def best(self, worth: np.ndarray, costs: BackwardCosts) -> list[int]:
        """The best choice by the costs along the order, and what still fits by those of its gradients together.

        Tensors of no worth come last, those whose trial update harms least first, and only to ``fill`` the target.
        """
        way = costs.path if self.whole_path else [0] * len(costs.names)
        places = best_choice(worth.tolist(), costs.own, way, self.budget_of(costs), self.units)
        if not places or not self.whole_path:
            return places
        left = sorted(set(self.usable(costs)) - set(places), key=lambda i: -worth[i])
        order = [i for i in left if self.fill or worth[i] > 0]
        return filled(costs, order, self.budget_of(costs), places, near=self.fill)

    def _stand_in(self, costs: BackwardCosts) -> list[int]:
        """The choice that spends most: it stands for any other where importances are not known or all the same."""
        budget, way = self.budget_of(costs), costs.path if self.whole_path else (0,) * len(costs.names)
        most, best = -1, [0]
        for deepest in range(len(costs.names)):
            spent, places = costs.own[deepest] + way[deepest], [deepest]
            if spent > budget:
                continue
            for place in sorted(range(deepest), key=lambda i: -costs.own[i]):
                if spent + costs.own[place] <= budget:
                    spent, places = spent + costs.own[place], [*places, place]
            if spent > most:
                most, best = spent, places
        return sorted(best)

    def _at_most(self, step: Step, costs: BackwardCosts) -> list[str]:
        """Do once what only a choosing step does, and give tensors whose training stands for an ordinary step."""
        reachable = self._reachable(step, costs)
        if self.select == "importance":
            with seldom(), _training_only(step, reachable):
                importances(step, reachable, keep_new_state=True)
        elif self.select == "random":
            with seldom(), torch.random.fork_rng(devices=[]), _training_only(step, reachable):
                Backprop().step(step)
        last = self.select == "last"
        places = filled(costs, self.usable(costs), self.budget_of(costs)) if last else self._stand_in(costs)
        return [costs.names[i] for i in places]


def _costs(step: Step) -> BackwardCosts:
    """Costs of the step by tensor. They follow from shapes: every seed and way of choosing takes the first's."""
    shapes = tuple((name, tuple(t.shape), t.dtype) for name, t in step.batches[0].items())
    asked = (getattr(step.model, "pintpot_case", None), shapes)
    if asked[0] is None or asked not in _latest:
        try:
            costs = backward_costs(prune(capture(step.model, step.loss_of, step.batches[0])))
        except NotCaptured as error:
            reason = f"its costs are counted on the captured step, and {error}"
            lasting = error.__cause__ is None
            raise Incompatible("method", "green-trainer", reason, lasting=lasting) from error
        if asked[0] is None:
            return costs
        _latest[asked] = costs
        while len(_latest) > _KEPT:
            _latest.popitem(last=False)
    return _latest[asked]


def _shortfall(rho: float, costs: BackwardCosts) -> str:
    least, allowed = costs.forward + costs.least, int(rho * costs.full)
    return (
        f"a step of {rho:g} times the operations of full tuning is {allowed / 1e9:.4g} GFLOP; the forward pass takes "
        f"{costs.forward / 1e9:.4g} and the cheapest matrix {costs.least / 1e9:.4g} more, which is "
        f"{(least - allowed) / 1e9:.4g} GFLOP too much; the least rho is {np.ceil(1e4 * least / costs.full) / 1e4:g}"
    )


@contextmanager
def _training_only(step: Step, chosen: Sequence[str] | Mapping[str, Any]) -> Iterator[None]:
    """Only these tensors take a gradient while the context lasts."""
    wanted = set(chosen)
    everything = [(n, p) for n, p in step.model.named_parameters() if p.is_floating_point()]
    try:
        for name, parameter in everything:
            parameter.requires_grad_(name in wanted)
        yield
    finally:
        for _, parameter in everything:
            parameter.requires_grad_(True)


def ever_chosen(choices: Sequence[Choice]) -> set[str]:
    """Names of all tensors that trained at some time."""
    return {n for choice in choices for n, pick in zip(choice.tensors, choice.chosen) if pick}
