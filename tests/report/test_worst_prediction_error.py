"""The ledger of errors: over a fixed set of cases, the worst known one among them, no error may grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.case import Case
from workbench.memory import ledger
from workbench.memory.measure import measure

STORED = Path(__file__).parents[1] / "golden" / "worst_prediction_error.json"
CASES = json.loads(STORED.read_text(encoding="utf-8"))["cases"]


def error(name: str) -> int:
    """Predicted minus measured peak in bytes, both made afresh."""
    task, model, method, batch = name.split()
    case = Case(task, model, method, int(batch))
    measured = measure(case.step(case.attached()), case.example())
    return case.predict(fresh=True).peak - measured.peak


@pytest.mark.skipif(not ledger.available(), reason="without the ledger core no workspace is measured")
def test_no_error_grows():
    found = {name: error(name) for name in CASES}
    grown = {name: (off, CASES[name]) for name, off in found.items() if abs(off) > abs(CASES[name])}
    assert not grown, f"errors in bytes, found and stored, that grew: {grown}"


def test_the_stored_cases_span_models_and_methods():
    models, methods = ({name.split()[i] for name in CASES} for i in (1, 2))
    assert len(models) >= 4 and len(methods) >= 4
