"""What a fit has found once it reads from the cache, without torch and without searching again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import MemoryProfile, Tier
from workbench.plan.fit_table import fit
from workbench.plan.planner import plan
from workbench.predictions import known


@pytest.fixture(autouse=True)
def known_host():
    """A process in which nobody has changed torch's threads has been here before."""
    code = "from workbench.memory.host import host; host()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=180)


AGAIN = """
import sys
from workbench.case import Case
from workbench.core.profile import Tier
from workbench.devices import get
from workbench.plan.fit_table import fit
cases = [Case("tokens", "tiny-bert", name, 8, 16) for name in ("full", "checkpointing", "head")]
found = fit(cases, get("raspberry-pi-4"), int(sys.argv[1]), tier=Tier.FAKE, patience=600)
assert "torch" not in sys.modules
print(*(f"{one.method} {one.fits} {[c.sentence for c in one.changes]}" for one in found), sep="\\n")
"""


def test_a_second_fit_needs_neither_torch_nor_another_trace(board):
    cases = [Case("tokens", "tiny-bert", name, 8, 16) for name in ("full", "checkpointing", "head")]
    budget = cases[1].predict(Tier.FAKE).peak - 1
    first = fit(cases, board, budget, tier=Tier.FAKE, patience=600)
    assert {one.fits for one in first} >= {"fits if"}
    words = [sys.executable, "-W", "ignore", "-c", AGAIN, str(budget)]
    second = subprocess.run(words, capture_output=True, text=True, env=os.environ, timeout=180)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines() == [f"{o.method} {o.fits} {[c.sentence for c in o.changes]}" for o in first]


PLANNED = """
import sys
from workbench.case import Case
from workbench.core.profile import Tier
from workbench.devices import get
from workbench.plan.planner import plan
found = plan(Case("tokens", "tiny-bert", "full", 8, 16), get("raspberry-pi-4"), int(sys.argv[1]), tier=Tier.FAKE)
assert "torch" not in sys.modules
print(found.case.settings, found.case.batch)
"""


def test_a_second_plan_builds_no_model_to_count_its_blocks(board):
    case = Case("tokens", "tiny-bert", "full", 8, 16)
    budget = case.predict(Tier.FAKE).peak - 1
    first = plan(case, board, budget, tier=Tier.FAKE)
    words = [sys.executable, "-W", "ignore", "-c", PLANNED, str(budget)]
    second = subprocess.run(words, capture_output=True, text=True, env=os.environ, timeout=180)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == f"{first.case.settings} {first.case.batch}"


def test_a_refusal_found_by_a_trace_is_known(board):
    case = Case("tokens", "tiny-bert", "full", 8, 16, settings={"weights": "frozen-bf16"})
    assert case.refusal() is None
    try:
        case.predict(Tier.FAKE)
    except Incompatible:
        assert known(case, Tier.FAKE), "or every search for ways out would try it again"
    else:
        raise AssertionError("full tuning has no frozen weights")


def test_a_stored_timeline_is_made_when_it_is_asked_for():
    made = Case("tokens", "tiny-bert", "head", 8, 16).predict(Tier.FAKE)
    stored = MemoryProfile.from_dict(made.to_dict())
    assert "_moments" not in vars(stored.timeline)
    assert len(stored.timeline) == len(made.timeline) and stored == made and made == stored
    assert max(m.total for m in stored.timeline) == stored.peak
