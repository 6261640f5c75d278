"""The Pareto panel of a comparison: what is missing is run from it, the reference as the comparison runs it."""

from dataclasses import replace

import pytest

import widgets
import workbench as wb
from workbench.core.errors import BadInput
from workbench.records.store import RunStore


@pytest.fixture
def bench(tmp_path):
    return replace(wb.open(budget="5 MiB", profile="quick", train=96, epochs=1), store=RunStore(tmp_path))


def test_the_missing_methods_are_shown_and_run_and_the_reference_goes_beyond_the_budget(bench):
    (head,) = bench.compare(["head"], [0])
    panel = widgets.ParetoPanel(bench, method=["head", "full"], seed=[0], reference=["full"])
    assert panel.info["missing"] == 1 and panel.info["live"]
    assert [a["label"] for a in panel.info["absent"]] == ["full"] and [p["label"] for p in panel.info["points"]] == [
        "head"
    ]
    info = panel.wait()
    full = next(p for p in info.points if p.label == "full")
    assert info.missing == 0 and not info.absent and full.reference and full.score is not None
    assert full.peak > bench.budget and full.fits is False and head.id in info.runs
    still = panel.finished()
    assert not still.live and "--reference full" in still.command
    assert [p.label for p in still.points if p.front] == ["head"]
    again = widgets.ParetoPanel(bench, method=["head", "full"], seed=[0, 1], reference=["full"])
    assert [(p["done"], p["planned"]) for p in again.info["points"]] == [(1, 2), (1, 2)] and again.info["missing"] == 2


def test_what_no_run_could_be_is_refused_at_once(bench):
    with pytest.raises(BadInput, match="hed"):
        widgets.ParetoPanel(bench, method=["hed"])
