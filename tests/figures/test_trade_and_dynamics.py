"""Score against several costs, and how far layers moved: both say what the runs hold, in both drawings."""

from __future__ import annotations

from dataclasses import replace

import synthetic

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.records.schema import Quantity, State


def runs() -> list:
    found = [synthetic.run(method, seed) for method in ("full", "lora", "bias") for seed in (0, 1, 2)]
    found = [
        replace(r, step_time=Quantity(0.1, "measured"), steps=tuple(replace(s, peak=r.measured.peak) for s in r.steps))
        for r in found
    ]
    return [*found, synthetic.run("head", 0, state=State.REFUSED, reason="it does not fit", measured=None, steps=())]


def test_every_finished_arm_stands_on_every_cost() -> None:
    info = figures.trade(runs())
    assert [c.unit for c in info.costs] == ["bytes", "bytes", "s"]
    for cost in info.costs:
        assert [p.label for p in cost.places] == ["full", "lora", "bias"]
    kept = {p.label: p.x for p in info.costs[0].places}
    assert kept["full"] > kept["lora"] > kept["bias"]
    assert "full" in info.alt and len(info.rows()) == 27
    assert "<svg" in to_svg(info) and len(to_plotly(info).data) == 9


def test_the_table_names_what_was_refused_and_why() -> None:
    rows = {r["method"]: r for r in figures.trade_table(runs()).rows}
    assert rows["head"]["state"] == "refused: it does not fit" and rows["head"]["highest"] is None
    assert rows["full"]["predicted"] and rows["full"]["state"] == "done" and rows["full"]["seconds"].endswith(" s")


def test_nothing_to_show_is_said() -> None:
    assert "No run" in figures.trade([]).alt and "<svg" in to_svg(figures.trade([]))
    assert "No run" in figures.dynamics(runs()).alt and "<svg" in to_svg(figures.dynamics(runs()))


def test_layers_stand_in_order_and_are_empty_until_their_first_turn() -> None:
    run = synthetic.run("full", 0, config={"frozen": 0.9})
    distances = [{}, {"a.layer.10.w": 0.1}, {"a.layer.10.w": 0.1, "a.layer.2.w": 1.0, "embed.w": 1e-3, "head.w": 10.0}]
    run = replace(run, steps=tuple(replace(s, extras=d) for s, d in zip(run.steps, distances)))
    info = figures.dynamics([synthetic.run("lora", 0), run])
    assert info.layers == ("embed.w", "a.layer.2.w", "a.layer.10.w", "head.w")
    assert info.steps == (2, 3)
    assert info.logarithms == ((None, -3.0), (None, 0.0), (-1.0, -1.0), (None, 1.0))
    assert "head.w has moved most and embed.w least" in info.alt
    assert len(info.rows()) == 8 and "<svg" in to_svg(info) and len(to_plotly(info).data) == 1
