"""What does not go together is refused before anything is trained, and a notebook shows it as a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.case import Case
from workbench.core.errors import BudgetExceeded, UnknownName
from workbench.memory import ledger
from workbench.plan.fit_table import fit
from workbench.plan.refusal import SECONDS, with_ways_out
from workbench.plan.ways import ways_out
from workbench.predictions import recent_log, traced
from workbench.records.schema import RunRecord, State


@pytest.mark.skipif(not ledger.available(), reason="without the ledger core no operator is probed")
def test_a_lever_that_a_kernel_refuses_is_refused_in_the_librarys_words(board):
    verdict = fit([Case("tokens", "tiny-bert", "glora", 2, 8, settings={"weights": "frozen-bf16"})], board, 2**30)[0]
    assert verdict.fits == "does not apply"
    assert "does not work with weights frozen-bf16" in verdict.reason and "same dtype" in verdict.reason
    assert fit([Case("tokens", "tiny-bert", "glora", 2, 8)], board, 2**30)[0].fits == "fits"


def test_a_fresh_prediction_lends_its_log_to_the_guard():
    case = Case("tokens", "tiny-bert", "head", 2, 9)
    assert recent_log(case) is None
    assert traced(case).log is recent_log(case)


def test_an_error_of_ours_is_one_sentence_in_a_notebook(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["error"] = UnknownName("method", "lorra", ["lora", "full"])
    shell.run_cell("raise error")
    shown = capsys.readouterr().out
    assert "method: 'lorra' is not usable" in shown and "Traceback" not in shown and "File" not in shown


def test_a_refused_run_is_shown_as_a_state():
    record = RunRecord(
        "id", "tokens", "tiny-bert", "full", 0, State.OVER_BUDGET, reason="a <b>sentence</b>", budget=2**20
    )
    shown = record._repr_html_()
    assert "over budget" in shown and "role='alert'" in shown and "1.00 MiB" in shown
    assert "&lt;b&gt;" in shown and "<b>" not in shown


def test_the_error_of_the_guard_says_all_that_it_knows():
    error = BudgetExceeded(
        operator="mm", module="encoder", category="saved for backward", asked=2**20, live=2**22, limit=2**22,
        ledger={"weights": 3 * 2**20, "workspace": 2**20, "inputs": 0}, suggestions=("batch 4 (3.00 MiB)",),
        note="the search for ways out stopped after 20 s",
    )  # fmt: skip
    for said in ("mm in encoder", "saved for backward", "1.00 MiB", "4.00 MiB are live", "weights 3.00 MiB"):
        assert said in str(error)
    assert "batch 4" in str(error) and "The search for ways out stopped" in str(error) and "inputs" not in str(error)


@pytest.mark.skipif(not ledger.available(), reason="without the ledger core the tracker enforces")
def test_training_in_python_raises_with_all_that_is_known_and_can_go_on():
    from workbench.core.schedule import Schedule
    from workbench.session import Session
    from workbench.tasks.base import Sizes

    case = Case("docstring-topic", "tiny-bert", "full", 4, 16)
    peak = case.predict().peak
    session = Session(case, budget=peak - 1, schedule=Schedule(steps=2), sizes=Sizes(train=16, test=4))
    session.prepare()
    with pytest.raises(BudgetExceeded, match="Cheapest ways out: ") as refused:
        list(session.steps())
    error = refused.value
    assert error.operator and error.module and error.category and error.live + error.asked == peak
    assert sum(error.ledger.values()) == error.live and "predicted" in error.suggestions[0]
    session.budget = peak
    assert [step.peak <= peak for step in session.steps()] == [True, True]


def test_a_cell_that_a_sweep_refused_gets_its_ways_out_when_it_is_asked_for(tmp_path, monkeypatch):
    import workbench
    from workbench.records.store import RunStore

    bench = workbench.open(
        task="docstring-topic", model="tiny-bert", budget="3 MiB", batch=4, length=16, train=16, test=4, steps=1
    )
    bench = replace(bench, store=RunStore(tmp_path))
    monkeypatch.setattr("workbench.ablate.PATIENCE", 0.0)
    [swept] = bench.ablate(method=["full"])
    assert swept.state is State.REFUSED and swept.ways is None and not swept.ways_sentence
    record = bench.run("full")
    assert record.id == swept.id and record.ways and "Cheapest ways out" in record.sentence
    assert bench.store.get(record.id).ways == record.ways
    assert record.ways[0] in record._repr_html_()


def test_a_sweep_looks_for_the_ways_out_of_a_case_once_whatever_the_seeds(tmp_path, monkeypatch):
    import workbench
    from workbench.records.store import RunStore

    bench = workbench.open(
        task="docstring-topic", model="tiny-bert", budget="3 MiB", batch=4, length=16, train=16, test=4, steps=1
    )
    bench = replace(bench, store=RunStore(tmp_path))
    monkeypatch.setattr("workbench.ablate.PATIENCE", 2 * SECONDS)
    records = bench.ablate(method=["full"], lr=[1e-3, 1e-4], seed=[0, 1])
    assert [r.state for r in records] == [State.REFUSED] * 4
    assert [bool(r.ways) for r in records] == [True, False, True, False], "two seeds of one case ask the same"


def test_no_way_out_is_what_has_just_failed(monkeypatch):
    case = Case("tokens", "tiny-bert", "full", 4, 16)
    peak = case.predict().peak
    monkeypatch.setattr("workbench.plan.refusal.ways_found", lambda case, budget, *_: ((str(budget),), ""))
    unforeseen = BudgetExceeded(
        operator="zeros", module="", category="workspace", asked=1000, live=peak, limit=peak + 100
    )
    told = with_ways_out(unforeseen, case)
    assert told.suggestions == (str(peak + 100 - 1000),), "as much room more as the prediction was short of"
    assert "1000 B more than predicted" in told.note
    assert not any(way.case == case for way in ways_out(case, peak + 100))
