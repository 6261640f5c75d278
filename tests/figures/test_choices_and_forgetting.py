"""Pictures of choices, of operations spent and of what was forgotten say exactly what the runs hold."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
import synthetic

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly

TENSORS = (
    "classifier.weight",
    "body.layer.1.a.weight",
    "body.layer.1.b.weight",
    "body.layer.0.a.weight",
    "embed.weight",
)


@dataclass(frozen=True)
class Spent:
    training: int
    choosing: int
    full: int


def chosen(step: int, epoch: int, *picks: int) -> dict:
    return {
        "step": step, "epoch": epoch, "budget": 50, "cost": 40, "forward": 40, "full": 160, "selecting": 60,
        "tensors": TENSORS, "importance": (1.0, 0.5, 0.25, -0.1, 0.0), "chosen": tuple(i in picks for i in range(5)),
    }  # fmt: skip


@pytest.fixture
def records() -> list:
    held = {"task": "other", "name": "accuracy", "value": 0.5, "count": 100, "lower_is_better": False, "before": 0.6}
    made = [replace(r, held_out=held) for r in synthetic.comparison() if r.method in ("bias", "lora")]
    return [replace(r, choices=(chosen(0, 0, 0, 1), chosen(75, 1, 0, 1, 2))) if r.method == "lora" else r for r in made]


def spent(records: list) -> dict[str, Spent]:
    return {r.id: Spent(3 * 10**12, 10**12 if r.choices else 0, 5 * 10**12) for r in records}


def test_a_schedule_has_a_line_for_each_choice(records: list) -> None:
    info = figures.schedule(records)
    assert [(line.epoch, sum(line.chosen), line.share) for line in info.lines] == [(0, 2, 0.5), (1, 3, 0.5)]
    assert [(s.label, s.end - s.start) for s in info.stretches] == [
        ("classifier", 1), ("1", 2), ("0", 1), ("embeddings", 1),
    ]  # fmt: skip
    assert len(info.rows()) == 2 * 5 and info.rows()[0]["tensor"] == TENSORS[0]
    assert "trains 2 of 5 tensors for 50.0 %" in info.alt
    drawn = to_plotly(info).data[0]
    assert list(drawn.z[0]) == [1.0, pytest.approx(0.78, abs=0.001), None, None, None]
    assert drawn.text[0][1] == 0.5
    assert to_svg(info) == to_svg(info)
    assert json.loads(json.dumps(info.data(), allow_nan=False))


def test_operations_include_those_of_choosing(records: list) -> None:
    info = figures.operations(records, spent(records))
    assert {p.label: p.x for p in info.places} == {"bias": 3.0, "lora": 4.0}
    table = figures.operations_table(records, spent(records))
    rows = {row["method"]: row for row in table.rows}
    assert (rows["lora"]["step"], rows["lora"]["whole"]) == (pytest.approx(0.6), pytest.approx(0.8))
    assert rows["bias"]["choosing"] is None
    assert len(to_plotly(info).data) == 4 and to_svg(info)


def test_forgetting_stands_beside_the_untuned_model(records: list) -> None:
    info = figures.forgetting(records)
    assert info.rule == 0.6 and {p.y for p in info.places} == {0.5}
    rows = figures.forgetting_table(records).rows
    assert rows[0]["change"] == "-0.1000 (-0.1000 to -0.1000)"
    assert "0.6 before tuning" in info.alt and to_svg(info) and to_plotly(info).data


def test_runs_without_any_of_it_are_said_to_have_none() -> None:
    plain = synthetic.comparison()
    for info in (figures.schedule(plain), figures.operations(plain, {}), figures.forgetting(plain)):
        assert info.rows() == [] and info.alt.startswith("No run") and to_svg(info)
        to_plotly(info)
