"""The run store under kills and damage: the experiments of ``docs/reliability.md`` at their small size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R2", "R3", "R10", "R12"])
def test_the_store_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)


@pytest.mark.slow
def test_a_killed_sweep_loses_nothing(holds: Callable[[str], None]) -> None:
    """A dozen kills do not reliably make the control lose a cell; the long run's hundreds do."""
    holds("R1")


@pytest.mark.slow
def test_a_jumping_clock_steals_and_keeps_nothing(holds: Callable[[str], None]) -> None:
    holds("R11")
