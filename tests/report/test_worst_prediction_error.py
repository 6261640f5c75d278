"""No error of a prediction may grow: over a fixed set of cases, made afresh, and in every published table.

That each method is exact on its tiny models is held by the contract of methods.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.case import Case
from workbench.memory import ledger
from workbench.memory.measure import measure

STORED = Path(__file__).parents[1] / "golden" / "worst_prediction_error.json"
GOLDEN = json.loads(STORED.read_text(encoding="utf-8"))
CASES, PUBLISHED = GOLDEN["cases"], GOLDEN["published"]
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


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


def published(name: str) -> list[tuple[str, int, int]]:
    """Each case of a published table: its name, predicted and measured peak in bytes."""
    found = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    if isinstance(found, list):
        return [(f"{r['model']} {r['method']}", r["predicted"], r["measured"]) for r in found if "difference" in r]
    places = [found["columns"].index(column) for column in ("predicted", "measured")]
    return [(" ".join(map(str, row[:6])), *(row[place] for place in places)) for row in found["rows"]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_error_grows_and_no_case_is_lost(name):
    rows = published(name)
    grown = {case: p - m for case, p, m in rows if abs(p - m) > PUBLISHED[name]["worst"]}
    assert not grown, f"errors in bytes above {PUBLISHED[name]['worst']}: {grown}"
    assert len(rows) >= PUBLISHED[name]["cases"]


def test_nothing_in_a_published_table_failed():
    exactness = json.loads((RESULTS / "exactness.json").read_text(encoding="utf-8"))["summary"]
    assert not exactness["failed"] and not exactness["refused"] and not exactness["not exact"]
    rows = json.loads((RESULTS / "any_model.json").read_text(encoding="utf-8"))
    unasked = [row for row in rows if "measured" in row and "difference" not in row]
    assert not [row for row in rows if "failed" in row]
    assert all(row["refused"].startswith("prediction: ") for row in unasked), "measured alone only where that is said"
