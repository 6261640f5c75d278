"""The data of every figure is exact, complete, and says what it is."""

import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import synthetic
from synthetic import MIB, run

from workbench import figures
from workbench.figures.groups import group
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.records.schema import State

KINDS = [
    figures.pareto,
    figures.curves,
    figures.timeline,
    figures.gradients,
    figures.saved,
    figures.prediction,
    figures.categories,
    figures.fit,
]


@pytest.fixture(scope="module")
def records():
    return synthetic.comparison()


@pytest.mark.parametrize("make", KINDS, ids=lambda f: f.__name__)
def test_every_figure_draws_twice_the_same_and_carries_its_words(make, records):
    info = make(records)
    picture = to_svg(info)
    assert picture == to_svg(info), "the same info gives the same bytes"
    assert len(picture) < 60_000
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg") and "style" not in picture and "currentColor" in picture
    assert info.alt.endswith(".") and "Runs: synthetic-" in info.caption
    assert info.rows() and json.loads(json.dumps(info.data(), allow_nan=False))
    assert len(to_plotly(info).data) > 0


@pytest.mark.parametrize("make", KINDS, ids=lambda f: f.__name__)
def test_every_figure_bears_no_runs(make):
    info = make([])
    assert to_svg(info) and info.rows() == [] and info.alt
    to_plotly(info)


def test_pareto_numbers_are_those_of_the_runs(records):
    info = figures.pareto(records)
    lora = next(p for p in info.points if p.label == "lora")
    scores = [r.score["value"] for r in records if r.method == "lora"]
    assert lora.score == pytest.approx(sum(scores) / 3)
    assert lora.peak == max(r.measured.peak for r in records if r.method == "lora")
    assert lora.peak_kind == "measured" and lora.fits and lora.front and lora.values["score"].interval == "seeds"
    full = next(p for p in info.points if p.label == "full")
    assert full.score is None and full.state == "refused" and full.peak_kind == "predicted" and full.fits is False
    assert info.budget == 256 * MIB
    assert len(info.rows()) == len(records)


def test_the_front_is_of_what_keeps_the_budget(records):
    over = [replace(r, config={"r": 99}, measured=replace(r.measured, peak=300 * MIB)) for r in records[:3]]
    over = [replace(r, method="lora", state=State.DONE, score={**run("lora", 0).score, "value": 0.99}) for r in over]
    assert any(p.front and p.peak == 300 * MIB for p in figures.pareto([*records, *over], 400 * MIB).points)
    assert not any(p.front and p.peak > 256 * MIB for p in figures.pareto([*records, *over]).points)


def test_no_run_is_dropped_whatever_became_of_it():
    odd = [State.FAILED, State.CANCELLED, State.DIVERGED, State.OVER_BUDGET, State.REFUSED, State.RUNNING]
    records = [run("lora", i, state, reason=f"reason {i}", config={"n": i}) for i, state in enumerate(odd)]
    table = figures.table(records)
    assert [r["state"] for r in table.rows] == [s.value for s in odd]
    for i, row in enumerate(table.rows[:-1]):
        assert row["verdict"].startswith((odd[i].value, "no:")) and f"reason {i}" in row["why"]
    said = figures.answer(records)
    for word in ("failed", "cancelled", "diverged", "running"):
        assert word in said
    assert len(figures.pareto(records).points) == len(odd)


def test_configurations_of_one_method_get_their_own_label():
    a = run("lora", 0, config={"rank": 4, "lr": 1})
    b = run("lora", 0, config={"rank": 8, "lr": 1})
    assert [p.label for p in figures.pareto([a, b]).points] == ["lora (rank 4)", "lora (rank 8)"]


def test_runs_of_other_accumulation_are_another_configuration_and_no_other_seed():
    made = [replace(run("lora", seed, accumulate=times), id=f"{times}-{seed}") for times in (1, 2) for seed in (0, 1)]
    once, twice = group(made)
    assert (once.label, twice.label) == ("lora (accumulate 1)", "lora (accumulate 2)")
    assert [set(g.by_seed) for g in (once, twice)] == [{0, 1}, {0, 1}]
    assert once.ids == ("1-0", "1-1") and twice.ids == ("2-0", "2-1")
    alone = group([made[0], made[2]])
    assert [g.interval.kind for g in alone] == ["examples", "examples"], "one seed at two settings is no interval"
    assert [p.label for p in figures.pareto(made).points] == [once.label, twice.label]


def test_timeline_keeps_the_peak_and_its_sentence(records):
    info = figures.timeline(records)
    for step in info.steps:
        totals = [sum(step.live[c][i] for c in info.categories) for i in range(len(step.events))]
        assert max(totals) == totals[step.peak_index] == step.peak
        assert len(step.events) <= 96
    full = next(s for s in info.steps if s.label == "full")
    assert full.over and full.source.startswith("predicted")


def test_frozen_is_not_zero(records):
    info = figures.gradients(records)
    head = next(m for m in info.maps if m.label == "head")
    assert head.frozen == (True,) * 7 + (False,)
    assert all(v is None for v in head.norms[0])
    assert "mezo" not in [m.label for m in info.maps]


def test_one_run_alone_shows_what_it_leaves_frozen(records):
    alone = next(r for r in records if r.method == "head")
    info = figures.gradients([replace(alone, layers=("encoder.layer.6", *synthetic.LAYERS))])
    assert info.maps[0].frozen.count(False) == 1 and len(info.layers) == len(synthetic.LAYERS) + 1
    assert f"trains 1 of {len(info.layers)} layers" in info.alt.replace("trains in", "trains")


def test_loss_curves_end_where_the_loss_stops_being_finite():
    steps = run("lora", 0).steps
    broken = tuple(replace(s, loss=math.nan) if s.step >= 10 else s for s in steps)
    info = figures.curves([run("lora", 0, State.DIVERGED, steps=broken)])
    shown = info.curves[0].seeds[0].steps
    assert max(shown) == 10 and min(shown) >= 1  # the tenth step is the last that was finite
    assert all(math.isfinite(v) for v in info.curves[0].mean)


def test_prediction_error_is_signed_and_worst_is_named(records):
    info = figures.prediction(records)
    by_run = {r.id: r for r in records}
    for p in info.points:
        assert p.error == by_run[p.run].peak_error
    assert info.worst == max((p.error for p in info.points), key=abs)


def test_colours_and_markers_belong_to_names():
    from workbench.figures.style import method_colour, method_marker

    assert method_colour("lora") == method_colour("LORA") != method_colour("bias")
    assert method_marker("some_new_method") == method_marker("some-new-method")
    assert re.fullmatch(r"#[0-9A-F]{6}", method_colour("some_new_method"))
