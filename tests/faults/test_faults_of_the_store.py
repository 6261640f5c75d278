"""The run store under kills and damage: the experiments of ``docs/reliability.md`` at their small size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R2"])
def test_the_store_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)
