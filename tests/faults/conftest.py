"""The fault experiments of ``benchmarks/faults`` at their small size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

SEED = 20261128  #: fixed here; the long run draws a fresh one and prints it


@pytest.fixture
def holds() -> Callable[[str], None]:
    """``holds(NAME)`` runs an experiment: its target must be met, and every negative control must miss it."""
    from faults.frame import Absent, conduct, experiments

    def examine(name: str) -> None:
        try:
            outcome = conduct(experiments()[name], seed=SEED, long=False)
        except Absent as error:
            pytest.skip(str(error))
        assert outcome.met, outcome.figures
        assert outcome.controls_failed, f"a control passed, so this test sees nothing: {outcome.controls}"

    return examine
