"""Runs side by side and declared grids: exact numbers, missing cells, words that say what the picture shows."""

from dataclasses import replace

import pytest
import synthetic
from synthetic import run

from workbench import figures
from workbench.figures.compare import differences
from workbench.figures.groups import group
from workbench.figures.measures import measures, spread
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.records.grid import GridPoint
from workbench.records.schema import Quantity, State


def points(missing=()):
    return [
        GridPoint({"method": method, "r": r}, seed, None if (method, r) in missing else run(method, seed))
        for method in ("lora", "bias")
        for r in (4, 8)
        for seed in range(3)
    ]


def test_only_what_differs_is_marked():
    first, second = run("lora", 0), run("lora", 0, id="synthetic-other", config={"lr": 2e-3, "rank": 8})
    info = figures.compare([first, second])
    differing = {line.name for line in info.lines if line.differs}
    assert differing == {"lr"}
    line = next(line for line in info.lines if line.name == "lr")
    assert line.section == "settings" and line.values == ("0.001", "0.002")
    assert info.alt == "2 runs side by side. They differ in lr."
    assert info.columns == ("lora, seed 0, lr 0.001", "lora, seed 0, lr 0.002")
    assert figures.compare([first, first]).columns == ("lora, seed 0 (1)", "lora, seed 0 (2)")
    wide = replace(second, config={**second.config, "targets": "a name that is far too long to stand above a column"})
    third = replace(first, batch=16)
    names = ("lora, seed 0, batch 8", "lora, seed 0 (2)", "lora, seed 0, batch 16")
    assert figures.compare([first, wide, third]).columns[1] == names[1]
    assert figures.compare([first, third]).columns == (names[0], names[2])
    assert "They were asked for alike" in figures.compare([first, first]).alt


def test_accumulation_is_a_fact_that_runs_differ_in():
    once, twice = run("lora", 0), replace(run("lora", 0, accumulate=2), id="synthetic-other")
    info = figures.compare([once, twice])
    assert [(line.section, line.name, line.values) for line in info.lines if line.differs] == [
        ("question", "accumulate", ("1", "2"))
    ]
    assert info.columns == ("lora, seed 0, accumulate 1", "lora, seed 0, accumulate 2")
    assert differences(once, twice) == (("accumulate", "1", "2"),)


def test_a_fact_that_one_run_lacks_is_a_dash_and_a_difference():
    refused = run("full", 1, State.REFUSED, reason="predicted peak is above the budget", measured=None)
    info = figures.compare([run("lora", 0), refused])
    facts = {line.name: line for line in info.lines}
    assert facts["measured peak"].values[1] == "–" and facts["measured peak"].differs
    assert facts["rank"].values == ("8", "–")
    assert facts["reason"].values == ("–", "predicted peak is above the budget")
    assert len(info.rows()) == len(info.lines)
    assert to_svg(info) == to_svg(info) and len(to_plotly(info).data) == 1


def test_grid_takes_seeds_together_and_shows_what_is_missing():
    info = figures.grid(points(missing={("bias", 8)}), budget=200 * synthetic.MIB)
    assert [(axis.name, axis.values) for axis in info.axes] == [("method", ("lora", "bias")), ("r", ("4", "8"))]
    assert info.missing == 3 and len(info.cells) == 4
    empty = next(c for c in info.cells if c.place == (1, 1))
    assert empty.state == "not run" and empty.values == {} and empty.done == 0 and empty.planned == 3
    cell = info.cells[0]
    scores = [run("lora", s).score["value"] for s in range(3)]
    assert cell.values["score"].mean == pytest.approx(sum(scores) / 3)
    assert cell.values["score"].low < cell.values["score"].mean < cell.values["score"].high
    assert cell.values["peak"].kind == "measured" and cell.label == "lora (r 4)" and not cell.over
    assert "3 runs are missing" in info.alt and to_svg(info) == to_svg(info)
    assert sum(row["metric"] == "accuracy" for row in info.rows()) == 4
    assert len(to_plotly(info).data) == 3


def test_grid_marks_what_does_not_keep_the_budget_and_what_was_stopped():
    refused = run("full", 0, State.REFUSED, reason="too large", measured=None)
    stopped = run("mezo", 0, State.CANCELLED)
    info = figures.grid(
        [GridPoint({"method": "full"}, 0, refused), GridPoint({"method": "mezo"}, 0, stopped)], 256 * synthetic.MIB
    )
    full, mezo = info.cells
    assert full.over and full.state == "refused" and full.values["peak"].kind == "predicted"
    assert mezo.done == 0 and info.missing == 1, "a stopped run is run again"
    assert "score" not in mezo.values, "a partial score never enters a mean"


def test_grid_and_comparison_of_nothing():
    assert figures.grid([]).alt == "The grid has no cell." and figures.compare([]).alt == "No runs to compare."
    for info in (figures.grid([]), figures.compare([])):
        assert to_svg(info) and info.rows() == []
        to_plotly(info)


def test_updates_stand_beside_the_norms():
    record = run("lora", 0)
    steps = tuple(replace(s, layer_updates={n: v / 100 for n, v in s.layer_norms.items()}) for s in record.steps)
    info = figures.gradients([replace(record, steps=steps)])
    one = info.maps[0]
    layer = next(i for i, frozen in enumerate(one.frozen) if not frozen)
    assert one.updates[layer][0] == pytest.approx(one.norms[layer][0] / 100)
    assert all(v is None for i, row in enumerate(one.updates) if one.frozen[i] for v in row)


def test_a_score_that_is_no_share_is_never_per_cent():
    record = run("lora", 0)
    loss = replace(record, score={"name": "bits per byte", "value": 0.83, "lower_is_better": True, "share": False})
    (line,) = [line for line in figures.compare([loss]).lines if line.name == "bits per byte"]
    assert line.values == ("0.83",)
    info = figures.grid([GridPoint({"method": "lora"}, 0, loss)])
    assert info.metrics[0].unit == "number" and info.metrics[0].lower_is_better and "0.83" in info.alt


def test_settings_too_long_for_a_label_are_said_by_what_differs_from_the_first():
    configs = [
        {"saved": "as-is", "recompute": 0, "optimizer": rule} for rule in ("adamw", "adamw8bit", "natural-galore")
    ]
    configs.append({"saved": "int8", "recompute": 1, "optimizer": "adamw"})
    records = [run("full", i, config=config) for i, config in enumerate(configs)]
    assert [g.label for g in group(records)] == [
        "full", "full (optimizer adamw8bit)", "full (optimizer natural-galore)", "full (saved int8, recompute 1)",
    ]  # fmt: skip


def test_a_grid_of_one_seed_says_that_its_intervals_are_not_over_seeds():
    assert figures.grid(points()).caption.startswith("Means over seeds with 95")
    alone = figures.grid([point for point in points() if point.seed == 0])
    assert alone.caption.startswith("One seed") and "not over seeds" in alone.caption


def test_no_interval_of_times_goes_below_none():
    times = [
        replace(run("lora", seed, State.DONE), step_time=Quantity(t, "measured")) for seed, t in enumerate((0.01, 0.05))
    ]
    ((measure, read),) = [(m, r) for m, r in measures(times) if m.key == "step_time"]
    found = spread(times, measure, read)
    assert found.low == 0 and found.mean == pytest.approx(0.03) and found.high > 0.05
