"""A run whose steps come to hold more than the one measured before the first says so."""

from __future__ import annotations

from types import SimpleNamespace

from workbench.records.growth import growth, unreached
from workbench.records.schema import StepRecord


def _steps(*peaks, norms=()):
    return [StepRecord(i, 0.0, 0.1, peak, 1e-3, {"a": 1.0} if i in norms else {}) for i, peak in enumerate(peaks)]


def test_steps_that_rise_above_the_measured_one_are_said_and_watched_ones_left_out():
    measured = SimpleNamespace(peak=10**6)
    assert growth(_steps(10**6, 10**6 - 4, 10**6 + 8), measured) == ()
    assert growth(_steps(10**6, 10**7, 10**6, norms=(1,)), measured) == ()
    (said,) = growth(_steps(10**6, 10**6, 10**6, 2 * 10**6, 3 * 10**6), measured)
    assert "from step 4 on" in said and "step 5 by 1.91 MiB to 2.86 MiB" in said
    assert growth(_steps(5), None) == growth([], measured) == ()


def test_steps_that_never_come_to_the_measured_one_are_said_but_not_after_one_alone():
    measured = SimpleNamespace(peak=10**6)
    (said,) = unreached(_steps(10**5, 6 * 10**5, 7 * 10**5, norms=(2,)), measured)
    assert "dearest step" in said and said.endswith("at most 684 KiB")
    assert unreached(_steps(10**5, 10**6 - 8), measured) == ()
    assert unreached(_steps(10**5), measured) == unreached(_steps(1, 2), None) == unreached([], measured) == ()
