"""Spend a budget of operations on tensors in an order of preference, whole tensors at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.engine.backward_costs import BackwardCosts

NEAR = 0.02  #: share of a step's target that may be left where tensors are small enough


def filled(
    costs: BackwardCosts, order: Iterable[int], budget: int, start: Sequence[int] = (), *, near: bool = True
) -> list[int]:
    """``start`` and the tensors in this order that keep ``budget`` operations of the backward pass; places, ascending.

    Where more than :data:`NEAR` of the whole step's operations is left, one tensor of the order, the last that can be,
    makes way for the first that brings the step near; nothing of ``start`` does. Without ``near`` none does.
    """
    order, places = [int(i) for i in order], list(start)
    for place in order:
        if costs.at([*places, place]) <= budget:
            places.append(place)
    least = (1 - NEAR) * (costs.forward + budget) - costs.forward
    if not near or costs.at(places) >= least:
        return sorted(places)
    others = [i for i in order if i not in places]
    for out in reversed([i for i in order if i in places and i not in start]):
        rest = [i for i in places if i != out]
        with_each = costs.with_each(rest)
        for new in others:
            if least <= with_each[new] <= budget:
                return sorted([*rest, new])
    return sorted(places)
