"""Checkpoints that are damaged, and savers that are killed: ``docs/reliability.md`` at its small size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R5", "R6"])
def test_what_was_saved_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)
