"""Colours within one figure, references, budget marks, and the infos of the pages about papers and predictions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from synthetic import MIB, run

from workbench import figures
from workbench.core.errors import UnknownName
from workbench.figures.groups import budget_of, group
from workbench.figures.mpl import to_svg
from workbench.figures.style import looks
from workbench.papers import chosen, papers
from workbench.published import published_memory
from workbench.records.schema import Quantity


@pytest.mark.parametrize(
    "names",
    [
        ("full", "lora", "last-blocks", "bias", "mezo"),
        ("dora", "last-blocks", "ia3", "bias", "vera", "checkpointing", "new-one", "another"),
        ("lora",) * 8,
    ],
)
def test_up_to_eight_methods_differ_in_colour_and_marker(names):
    drawn = looks(names)
    assert len({colour for colour, _ in drawn}) == len({marker for _, marker in drawn}) == len(names)


def test_beyond_eight_no_two_look_alike():
    drawn = looks([f"method-{i}" for i in range(40)])
    assert len(set(drawn)) == 40


def test_usual_methods_keep_their_colour_whoever_stands_beside_them():
    alone, crowd = looks(["mezo"]), looks(["dora", "x", "mezo", "full"])
    assert alone[0] == crowd[2]


def with_reference():
    return [replace(r, budget=None) if r.method == "mezo" else r for r in synthetic.comparison()]


def test_a_run_without_the_budget_of_the_others_is_a_reference():
    records = with_reference()
    assert [g.label for g in group(records) if g.reference] == ["mezo"]
    assert budget_of(records) == 256 * MIB
    assert [p.label for p in figures.pareto(records).points if p.reference] == ["mezo"]
    row = next(r for r in figures.table(records, 1 * MIB).rows if r["method"] == "mezo")
    assert row["verdict"].startswith("reference, no: ") and "without the budget" in row["why"]
    few = [r for r in records if r.method in ("mezo", "lora")]
    assert "it ran as the reference, without the budget" in figures.answer(few, 1 * MIB)
    assert not any(g.reference for g in group([replace(r, budget=None) for r in records]))


def test_the_answer_is_one_sentence_and_the_rest_stands_below():
    first, rest = figures.answer(synthetic.comparison()).split("\n")
    assert first.count(". ") == 0 and rest.startswith("Does not fit")


def test_every_mark_of_the_device_is_on_the_slider_and_names_its_size_once():
    marks = {"100 MiB: 1/16 of what is free": 100 * MIB, "whole memory": 2**40}
    info = figures.fit(synthetic.comparison(), marks=marks)
    assert info.marks == (("100 MiB (1/16 of free memory)", 100 * MIB), ("1.00 TiB (whole memory)", 2**40))


def test_the_main_table_is_narrow_and_its_file_holds_everything():
    table = figures.table(synthetic.comparison())
    assert len(table.columns) <= 9 and {c.key for c in table.data_only} >= {"why", "category:weights", "seeds"}
    assert len(figures.split(synthetic.comparison()).columns) == 10


def test_errors_are_those_of_the_runs_and_an_empty_store_says_so():
    records = synthetic.comparison()
    info = figures.errors(records)
    known = [r for r in records if r.peak_error is not None]
    assert [p.error for p in info.points] == [r.peak_error for r in known]
    assert info.worst == max((r.peak_error for r in known), key=abs)
    assert f"{info.worst:+.3%}" in figures.errors_answer(records)
    assert "nothing can be said" in figures.errors_answer([]) and not figures.errors_table([]).rows
    assert to_svg(info) == to_svg(info) and "No run has both" in to_svg(figures.errors([]))


def test_step_times_are_compared_on_the_same_machine_only():
    here = run("lora", 0, device="this-host", device_step_time=Quantity(0.18, "predicted"))
    elsewhere = run("lora", 1, device="raspberry-pi-4", device_step_time=Quantity(1.8, "extrapolated"))
    assert figures.errors_table([here]).rows[0]["time"] == pytest.approx(0.5)
    assert figures.errors_table([elsewhere]).rows[0]["time"] is None


def test_every_paper_is_on_the_map_and_counts_add_up():
    rows = papers()
    info = figures.papers_map(rows)
    assert sum(sum(b.counts) for b in info.bars) == len(rows) == len(figures.papers_table(rows).rows) == 52
    assert to_svg(info)
    family = rows[0].family
    assert {p.family for p in chosen([family])} == {family}
    with pytest.raises(UnknownName):
        chosen(["no such family"])


class Forecast:
    def __init__(self, model, method, profile):
        self.model, self.method, self.profile, self.reason, self.seconds = model, method, profile, "no", 0.5


def test_forecasts_stand_beside_what_was_published_and_nothing_is_invented():
    profile = synthetic.profile("lora", synthetic.Tier.PROBE)
    found = [Forecast("llama-2-7b", "lora", profile), Forecast("llama-2-7b", "bias", None)]
    table = figures.beside_published(found, published_memory())
    published = [r.get("published") for r in table.rows if r["method"] == "lora"]
    assert published == [f"{p.published} ({p.kind})" for p in published_memory()
                         if (p.model, p.method) == ("llama-2-7b", "lora")]  # fmt: skip
    assert [r.get("published") for r in table.rows if r["method"] == "bias"] == [None]
    info = figures.forecast(found, "llama-2-7b")
    assert [b.peak for b in info.bars] == [profile.peak] and to_svg(info)
    assert "lora" in figures.forecast_answer(found, 1, 512)


def test_published_figures_name_their_source(tmp_path):
    assert all(p.source and p.address for p in published_memory())
    bad = tmp_path / "published.toml"
    bad.write_text(
        '[[figure]]\nmodel="m"\nmethod="x"\npublished="1 GB"\nkind="recalled"\nsetting=""\nsource="s"\naddress="a"'
    )
    with pytest.raises(ValueError, match="kind"):
        published_memory(bad)
