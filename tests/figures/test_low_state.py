"""Tables of optimizers with little state: shares, the refresh's part of the time, and the paper's sizes."""

from __future__ import annotations

import pytest
from synthetic import MIB, run

from workbench import figures
from workbench.figures.low_state import PAPER_MODELS, counted
from workbench.records.schema import State, StepRecord


def scored(method, values, **changes):
    return [
        run(method, s, score={"name": "accuracy", "value": v, "count": 600}, **changes) for s, v in enumerate(values)
    ]


def projecting(interval: int, ordinary: float, refreshing: float):
    """A run whose refreshing steps take longer; every fifth step is one with instruments."""
    steps = tuple(
        StepRecord(i, 0.5, refreshing if i % interval == 0 else ordinary, layer_norms={"a": 1.0} if i % 5 == 0 else {})
        for i in range(61)
    )
    return run("lora", 0, steps=steps, config={"interval": interval, "refresh": "iteration"})


def test_the_answer_gives_shares_and_paired_differences_against_the_first():
    records = scored("full", [0.90, 0.91, 0.92]) + scored("lora", [0.85, 0.86, 0.87])
    first, second = figures.low_state_answer(records).split("\n")
    assert first == "Of the 174 MiB of optimizer state of full, lora keeps 3.4 %."
    assert "lora: -5.0 points of accuracy against full" in second and "not told apart" not in second
    same = scored("full", [0.90, 0.91, 0.92]) + scored("lora", [0.91, 0.90, 0.92])
    assert "not told apart" in figures.low_state_answer(same)


def test_one_arm_is_no_comparison():
    assert figures.low_state_answer(scored("full", [0.9])).startswith("There is nothing to compare")


def test_an_arm_without_a_result_stays_in_the_table():
    records = [*scored("full", [0.9, 0.9]), run("lora", 0, State.REFUSED, reason="too large", measured=None)]
    rows = figures.low_state_table(records, 400 * MIB).rows
    assert [r["method"] for r in rows] == ["full", "lora"]
    assert rows[0]["state_measured"] == 174 * MIB and rows[0]["time_ratio"] == 1.0
    assert rows[1]["state_measured"] is None and rows[1]["state_predicted"] and "too large" in rows[1]["why"]


def test_the_refresh_is_a_share_of_a_whole_interval():
    """One step in seven takes 0.2 s instead of 0.1 s: 0.1 of 0.8 s."""
    (row,) = figures.refresh_table([projecting(7, 0.1, 0.2)]).rows
    assert (row["ordinary"], row["refreshing"]) == (0.1, 0.2)
    assert row["share"] == pytest.approx(0.125)


def test_who_refreshes_at_every_step_has_no_share_and_who_does_not_project_no_row():
    rows = figures.refresh_table([projecting(1, 0.1, 0.2), run("bias", 0)]).rows
    assert [(r["ordinary"], r["refreshing"], r["share"]) for r in rows] == [(None, 0.2, None)]


@pytest.mark.parametrize("model", PAPER_MODELS, ids=lambda m: m.name)
def test_counted_sizes_stand_near_the_papers_except_for_the_history(model):
    """Full and GaLore within 18 % of the printed column; with its history Natural GaLore passes full AdamW."""
    sizes = counted(model)
    for printed, name in ((model.full, "full"), (model.galore, "galore")):
        assert sizes[name] / 1e9 == pytest.approx(float(printed.removesuffix(" GB")), rel=0.18)
    assert sizes["natural"] == sizes["galore"] + sizes["history"] > sizes["full"]


def test_the_table_of_the_paper_says_what_is_counted_and_what_is_read():
    table = figures.paper_memory()
    titles = [c.title for c in table.columns]
    assert sum(t.startswith("Paper:") for t in titles) == 2 and sum(t.startswith("Counted:") for t in titles) == 4
    assert "not a measurement" in table.caption
