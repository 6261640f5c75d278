"""The table answers shapes it never saw exactly, at once, without torch, and refuses where its check missed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from workbench.case import Case
from workbench.core.profile import Tier
from workbench.fit_table import FitTable, fit_table
from workbench.plan import on_device

METHODS = ("full", "head", "mezo", "whimsical", "prefix-tuning")


@pytest.fixture(scope="module")
def table(board, whimsical):
    cases = [Case("tokens", "tiny-bert", m, 8, 16) for m in METHODS]
    return fit_table(cases, board, tier=Tier.FAKE)


def test_new_shapes_are_exact_in_memory_and_work(table):
    for batch, length in ((8, 16), (3, 12), (20, 40)):
        for line in table.at(2**30, batch, length):
            if line.peak is None:
                continue
            case = Case("tokens", "tiny-bert", line.method, batch, length)
            truth = case.predict(Tier.FAKE)
            assert line.peak == truth.peak
            assert dict(line.by_category) == dict(truth.by_category)
            assert line.binding == truth.binding_category
            assert line.step_time.value == pytest.approx(on_device(case, table.device)[0].value, rel=0.02)
            assert line.step_time.kind == "extrapolated"


def test_the_budget_decides_the_verdict(table):
    peaks = {line.method: line.peak for line in table.at(2**30)}
    lines = {line.method: line for line in table.at(peaks["full"] - 1)}
    assert lines["full"].fits == "does not fit" and "1 B over" in lines["full"].reason
    assert lines["head"].fits == "fits"
    assert lines["whimsical"].fits == "not predicted" and lines["prefix-tuning"].fits == "does not apply"


def test_a_missed_check_is_never_interpolated(table):
    missed = replace(table, methods={"full": replace(table.methods["full"], error=0.01)})
    line = missed.at(2**30, 3, 12)[0]
    assert line.peak is None and line.fits == "not predicted" and "1.00%" in line.reason


def test_any_change_takes_less_than_50_ms_for_as_many_methods_as_there_are(table):
    many = replace(
        table,
        methods={f"full {i}": table.methods["full"] for i in range(60)},
        families={f"full {i}": "full" for i in range(60)} | dict(table.families),
    )
    many.at(2**23)
    taken = []
    for batch in range(2, 7):
        start = time.thread_time()
        many.at(2**23, batch, 20)
        taken.append(time.thread_time() - start)
    assert min(taken) < 0.05


def test_it_travels_as_json_and_answers_without_torch(table, tmp_path):
    file = tmp_path / "table.json"
    file.write_text(json.dumps(table.to_dict()))
    assert FitTable.from_dict(json.loads(file.read_text())).at(2**23, 5, 20) == table.at(2**23, 5, 20)
    code = (
        "import json, sys; from workbench.fit_table import FitTable;"
        f"t = FitTable.from_dict(json.load(open({str(file)!r}))); print(len(t.at(2**23, 5, 20)));"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(METHODS)
