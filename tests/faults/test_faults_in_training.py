"""Training under kills and on a full disk: ``docs/reliability.md`` at its small size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R4", "R7"])
def test_training_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)
