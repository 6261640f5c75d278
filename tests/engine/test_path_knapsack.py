"""The choice of tensors is the best of all subsets, and never costs more than the budget."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine.path_knapsack import best_choice

COST = st.integers(0, 40)
TENSORS = st.lists(st.tuples(st.floats(-1, 1, allow_nan=False), COST, COST), min_size=1, max_size=10)


def cost(chosen: tuple[int, ...] | list[int], own: list[int], path: list[int]) -> int:
    return sum(own[i] for i in chosen) + max((path[i] for i in chosen), default=0)


def brute_force(worth: list[float], own: list[int], path: list[int], budget: int) -> float:
    places = range(len(worth))
    return max(
        sum(worth[i] for i in chosen)
        for size in range(len(worth) + 1)
        for chosen in combinations(places, size)
        if cost(chosen, own, path) <= budget
    )


def unpacked(tensors: list[tuple[float, int, int]]) -> tuple[list[float], list[int], list[int]]:
    worth, own, rises = (list(column) for column in zip(*tensors))
    return worth, own, [sum(rises[: i + 1]) for i in range(len(rises))]


@given(TENSORS, st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_it_is_as_good_as_trying_every_subset(tensors: list[tuple[float, int, int]], budget: int) -> None:
    worth, own, path = unpacked(tensors)
    chosen = best_choice(worth, own, path, budget)
    assert cost(chosen, own, path) <= budget
    assert abs(sum(worth[i] for i in chosen) - brute_force(worth, own, path, budget)) < 1e-9


@given(TENSORS, st.integers(1, 400), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_few_units_cost_worth_but_never_pass_the_budget(
    tensors: list[tuple[float, int, int]], budget: int, units: int
) -> None:
    worth, own, path = unpacked(tensors)
    chosen = best_choice(worth, own, path, budget, units)
    assert cost(chosen, own, path) <= budget
    assert sum(worth[i] for i in chosen) <= brute_force(worth, own, path, budget) + 1e-9


def test_room_for_everything_takes_all_that_is_worth_something() -> None:
    assert best_choice([0.5, -0.1, 0.2, 0.0, 0.1], [3, 1, 2, 1, 4], [0, 1, 2, 3, 4], 100) == [0, 2, 4]


def test_the_way_down_is_paid_once_and_by_the_deepest() -> None:
    worth, own, path = [1.0, 1.0, 5.0], [1, 1, 1], [0, 3, 6]
    assert best_choice(worth, own, path, 2) == [0]
    assert best_choice(worth, own, path, 5) == [0, 1]
    assert best_choice(worth, own, path, 7) == [2]
    assert best_choice(worth, own, path, 9) == [0, 1, 2]
    assert best_choice(worth, own, path, -1) == []
