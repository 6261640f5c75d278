"""Bad and hostile input, kernels that fail, servers, secrets: ``docs/reliability.md`` at its small size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261128

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["R8", "R9", "B1", "S1", "S3", "S4", "S5"])
def test_it_holds_and_its_controls_do_not(name: str, holds: Callable[[str], None]) -> None:
    holds(name)


@pytest.mark.browser
def test_no_script_runs_in_a_browser() -> None:
    """In a process of its own: another test of this one may hold the browser library's event loop."""
    command = [sys.executable, str(ROOT / "benchmarks" / "reliability.py"), "S2", "--short", "--seed", str(SEED)]
    done = subprocess.run([*command, "--peers", "not"], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
