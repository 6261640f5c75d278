"""Choices keep their budgets, more budget never buys less, and a search is no worse than what is plain."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import workbench as wb
from workbench.core.errors import BadInput
from workbench.core.spelling import parsed_way
from workbench.studies import budget_search as study
from workbench.studies.contribution import Contributions


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    return wb.open("digits", "tiny-cnn", budget="1GiB", profile="quick", train=64, test=32, batch=32)


def holds(found: study.BudgetSearch) -> None:
    budgets = [pick.budget for pick in found.picks]
    assert budgets == sorted(budgets) and budgets[-1] <= found.full
    assert all(pick.cost <= pick.budget for pick in found.picks)
    assert all(len(pick.chosen) == len(found.parts) for pick in found.picks)
    for pick in found.picks:
        worth = sum(part.worth for part, taken in zip(found.parts, pick.chosen) if taken)
        assert pick.worth == pytest.approx(worth)


def test_bytes(bench) -> None:
    found = study.searched_bytes(bench, budgets=4, trials=30, batches=1)
    holds(found)
    worths = [pick.worth for pick in found.picks]
    assert worths == sorted(worths) and worths[-1] == pytest.approx(1.0)
    assert all(pick.worth >= max(pick.last, pick.chance) - 1e-9 for pick in found.picks), "greedy choices start it"
    method, settings = parsed_way(found.picks[2].way)
    smaller, larger = (
        bench.case(method, **settings).predict().peak,
        bench.case("full", executor="graph").predict().peak,
    )
    assert smaller < larger


def test_operations(bench) -> None:
    found = study.searched_operations(bench, budgets=4)
    holds(found)
    assert found.picks[1].worth >= found.picks[1].chance
    assert found.picks[-1].worth == pytest.approx(1.0)
    assert found.picks[1].way.startswith("green-trainer rho=")


def test_sram_takes_one_share_of_a_layer(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))
    watch = wb.open("pixels", "mcu-watch", "stm32f746", "64 GiB", batch=1)
    gains = Contributions(0.5, {2: 0.02, 6: 0.05}, {(-1, Fraction(1, 4)): 0.03, (-1, Fraction(1)): 0.06}, 6, 0)
    found = study.searched_sram(watch, gains, budgets=3, trials=20)
    holds(found)
    assert [part.group for part in found.parts] == ["biases", "biases", "-1", "-1"]
    whole = found.picks[-1]
    assert whole.chosen == (False, True, False, True) and whole.worth == pytest.approx(1.0)
    assert found.picks[0].chosen == (False,) * 4, "the smallest budget is the head's own need"


def test_filling_takes_what_fits_and_one_of_a_group() -> None:
    parts = [
        study.Part(str(i), 0.25, size, group) for i, (size, group) in enumerate([(3, "a"), (2, "a"), (4, ""), (1, "")])
    ]
    cost = lambda chosen: float(sum(p.alone for p, pick in zip(parts, chosen) if pick))  # noqa: E731
    assert study.filled(parts, range(4), cost, 5).tolist() == [True, False, False, True]
    assert study.filled(parts, range(4), cost, 5, stop=True).tolist() == [True, False, False, False]
    assert np.all(study.filled(parts, range(4), cost, 100) == [True, False, True, True])
    with pytest.raises(BadInput, match="budgets"):
        study.spread(1, 2, 1)
