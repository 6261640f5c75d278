"""A cell of a grid and the same runs against each other are called, coloured and marked the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import run

from workbench import figures
from workbench.core.errors import BadInput
from workbench.records.grid import GridPoint


def _points(missing: tuple[str, int] = ("", 0)) -> list[GridPoint]:
    return [
        GridPoint({"method": m, "batch": b}, s, None if (m, b) == missing else replace(run(m, s), batch=b))
        for m in ("lora", "bias")
        for b in (4, 8)
        for s in range(2)
    ]


def test_cells_look_as_the_same_runs_do_in_any_other_drawing() -> None:
    points = _points()
    cells = {(c.label, c.colour, c.marker) for c in figures.grid(points).cells}
    drawn = figures.pareto([p.record for p in points if p.record]).points
    assert cells == {(p.label, p.colour, p.marker) for p in drawn} and len(cells) == 4
    assert {"lora (batch 4)", "bias (batch 8)"} <= {label for label, *_ in cells}


def test_what_was_not_run_is_named_alike() -> None:
    points = _points(("bias", 8))
    absent = [c.label for c in figures.grid(points).cells if c.state == "not run"]
    records = [p.record for p in points if p.record]
    assert absent == [a.label for a in figures.pareto(records, planned=points).absent] == ["bias (batch 8)"]


def test_cells_whose_runs_have_the_same_settings_are_told_apart_by_their_place() -> None:
    points = [GridPoint({"method": "lora", "wish": w}, 0, run("lora", 0)) for w in (1, 2)]
    assert [c.label for c in figures.grid(points).cells] == ["lora (wish 1)", "lora (wish 2)"]


def test_a_cell_is_found_by_its_place() -> None:
    info = figures.grid(_points())
    assert info.cell(method="bias", batch=8).label == "bias (batch 8)"
    for wrong, field in (({"method": "bias", "batch": 5}, "batch"), ({"batch": 4}, "method")):
        with pytest.raises(BadInput, match=field):
            info.cell(**wrong)


def test_of_many_exact_predictions_none_is_named_and_the_others_are_counted() -> None:
    from workbench.figures.mpl import to_svg

    records = [replace(run("lora", 0), batch=b) for b in range(1, 19)]
    drawn = to_svg(figures.prediction(records))
    named = sum(f"batch {b}" in drawn for b in range(1, 19))
    assert named <= 16 and "without a name: within" in drawn
