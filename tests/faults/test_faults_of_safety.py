"""Bad and hostile input, kernels that fail, servers, secrets: ``docs/reliability.md`` at its small size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R8", "R9", "B1", "S1", "S3", "S4", "S5"])
def test_it_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)


@pytest.mark.browser
def test_no_script_runs_in_a_browser(holds: Callable[[str], None]) -> None:
    holds("S2")
