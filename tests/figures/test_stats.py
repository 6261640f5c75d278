"""Intervals and fronts against values worked out elsewhere."""

import math

import pytest

from workbench.stats import mean, paired_difference, pareto_front, score_interval, t_interval, wilson


def test_t_interval_of_three_seeds():
    found = t_interval([0.80, 0.82, 0.84])
    # t quantile 4.302653 with two degrees of freedom, standard deviation 0.02
    assert found.mean == pytest.approx(0.82)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert found.kind == "seeds" and found.count == 3


def test_one_seed_gives_wilson_over_examples_and_no_interval_without_a_count():
    found = score_interval([0.5], 10)
    # Newcombe (1998): 5 of 10 gives 0.2366 to 0.7634
    assert (found.low, found.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert found.kind == "examples"
    assert score_interval([0.5]).low is None
    assert score_interval([1.7], 10).low is None  # a loss is no proportion


def test_wilson_stays_inside_the_unit_interval():
    assert wilson(10, 10).high == pytest.approx(1.0) and wilson(10, 10).high <= 1.0 and wilson(10, 10).low < 1.0
    assert wilson(0, 10).low == pytest.approx(0.0) and wilson(0, 10).high > 0.0


def test_paired_difference_uses_shared_seeds_only():
    found = paired_difference({0: 0.9, 1: 0.8, 7: 0.1}, {0: 0.8, 1: 0.7, 2: 0.0})
    assert found.mean == pytest.approx(0.1) and found.count == 2
    assert found.low == pytest.approx(0.1)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_front_keeps_the_unbeaten_and_skips_the_unknown():
    assert pareto_front([3, 1, 2, None, 2], [0.9, 0.5, 0.4, 1.0, 0.7]) == (1, 4, 0)
    assert pareto_front([1, 2], [0.5, 0.4], lower_is_better=True) == (0, 1)
    assert pareto_front([1, 1], [0.5, 0.5]) == (0, 1)
    assert pareto_front([1, 2], [math.nan, 0.4]) == (1,)
    assert pareto_front([], []) == ()


def test_mean_of_nothing_is_not_zero():
    assert math.isnan(mean([]))


def test_the_interval_of_a_proportion_over_seeds_stays_inside_the_unit_interval():
    found = score_interval([0.85, 0.95, 0.99], 300)
    assert found.kind == "seeds" and found.high == 1.0 and found.low > 0
    assert score_interval([0.2, 1.7, 0.1]).high > 1  # losses have no such end
