"""The pages of lean methods are what their renderers make of the stored results, and no comparison goes missing."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


def page_of(name: str):
    return importlib.import_module(f"{name}_page")


def stored(name: str):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["lean_backward", "lean_transformers", "microcontroller"])
def test_the_page_is_what_the_renderer_makes_of_the_results(name):
    renderer = page_of(name)
    assert renderer.PAGE.read_text(encoding="utf-8") == "\n".join(renderer.page(stored(name))) + "\n"


def test_the_page_of_panels_is_made_of_its_results_and_marks_what_misses_an_aim():
    panels = importlib.import_module("panels")
    assert panels.PAGE.read_text(encoding="utf-8") == "\n".join(panels.page(stored("panels"))) + "\n"
    rows = [{"what": "a", "median_ms": 1.0, "worst_ms": worst, "times": 3} for worst in (100.0, 100.1)]
    found = panels.timed(rows, "drawing")[2:]
    assert [row.split(" | ")[-1] for row in found] == ["yes |", "**no** |"]


@pytest.mark.parametrize("name", ["lean_backward", "lean_transformers", "microcontroller"])
def test_pictures_are_drawn_from_the_stored_results(name):
    renderer = page_of(name)
    for file, info in renderer.drawings(stored(name)).items():
        drawn = (renderer.PAGE.parent / f"{file}.svg").read_text(encoding="utf-8")
        assert f"<!-- {renderer.charts.numbers(info)} -->" in drawn, "draw it anew: --page"


def test_the_chart_of_every_model_has_the_easy_baselines_and_three_seeds():
    drawings = page_of("lean_backward").drawings(stored("lean_backward"))
    for info in (info for name, info in drawings.items() if "chart" in name):
        drawn = {place.label.split()[0] for place in info.costs[0].places}
        assert {"full", "lora", "bias", "last-blocks"} <= drawn
        assert any("green-trainer" in p.label and "select=random" in p.label for p in info.costs[0].places)
        assert all(len(place.seeds) == 3 and place.low is not None for cost in info.costs for place in cost.places)


@pytest.mark.parametrize("model", ["minilm", "tiny-vit"])
@pytest.mark.parametrize("method", ["slimfit", "green-trainer"])
def test_every_rule_of_choosing_stands_beside_chance_or_the_page_fails(model, method):
    renderer, results = page_of("lean_backward"), stored("lean_backward")
    rows, predicted = (results["models"][model][part] for part in ("trained", "predicted"))
    (_, after) = "\n".join(renderer._trained(rows, predicted)).split("Against the same by chance")
    assert f"- {method} " in after
    for taken in ("random", {"slimfit": "dynamics", "green-trainer": "importance"}[method]):
        fewer = [r for r in rows if r["method"] != method or r["settings"]["select"] != taken]
        with pytest.raises(LookupError, match=method):
            renderer._trained(fewer, predicted)
