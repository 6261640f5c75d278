"""Choose tensors of the highest importance within a budget, when reaching a deep one costs the way down to it.

Tensors stand in the order in which the backward pass reaches them. A choice costs what its tensors cost by themselves
and the way to the deepest of them, which all the others lie on. So one knapsack table over the order serves every
possible deepest tensor: take it, pay its way, and fill what is left from those before it. That is as good as trying
every subset, in O(tensors x units); the recursion over pairs of tensors of the paper takes O(tensors^2 x units).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_choice(
    worth: Sequence[float], own: Sequence[int], path: Sequence[int], budget: int, units: int = 20_000
) -> list[int]:
    """Places of the chosen tensors, ascending; of equal choices one of fewest tensors.

    ``path`` must not fall along the order. The budget is divided into ``units`` and every cost rounded up to whole
    ones, so a choice never passes the budget; with at least as many units as the budget nothing is rounded. Tensors
    whose worth is not above zero are never chosen.
    """
    if budget < 0 or units < 1:
        return []
    steps = min(units, budget)
    alone, way = (_rounded_up(costs, budget, steps) for costs in (own, path))
    best = np.zeros(steps + 1)  # by units spent at most, over the tensors seen so far
    taken = np.zeros((len(worth), steps + 1), dtype=bool)
    deepest, most = -1, 0.0
    for place, value in enumerate(worth):
        left = steps - alone[place] - way[place]
        if value > 0 and left >= 0 and best[left] + value > most:
            deepest, most = place, best[left] + value
        if value > 0 and alone[place] <= steps:
            with_it = np.full(steps + 1, -np.inf)
            with_it[alone[place] :] = best[: steps + 1 - alone[place]] + value
            taken[place] = with_it > best
            best = np.maximum(best, with_it)
    return _traced(taken, alone, deepest, steps - alone[deepest] - way[deepest]) if deepest >= 0 else []


def _traced(taken: np.ndarray, alone: Sequence[int], deepest: int, left: int) -> list[int]:
    chosen = [deepest]
    for place in range(deepest - 1, -1, -1):
        if taken[place, left]:
            chosen.append(place)
            left -= alone[place]
    return chosen[::-1]


def _rounded_up(costs: Sequence[int], budget: int, steps: int) -> list[int]:
    if steps == budget:
        return [int(cost) for cost in costs]
    return [-(-int(cost) * steps // budget) for cost in costs]
