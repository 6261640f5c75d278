"""The pages of lean methods are what their renderers make of the stored results, and no comparison goes missing."""

from __future__ import annotations

import copy
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
        assert "checkpointing" in drawn or "head" in drawn, "recomputing is refused where it would update norms twice"
        assert any("green-trainer" in p.label and "select=random" in p.label for p in info.costs[0].places)
        assert all(len(place.seeds) == 3 and place.low is not None for cost in info.costs for place in cost.places)


@pytest.mark.parametrize("model", ["minilm", "tiny-vit"])
@pytest.mark.parametrize("method", ["slimfit", "green-trainer"])
def test_every_rule_of_choosing_stands_beside_chance_or_the_page_fails(model, method):
    renderer, results = page_of("lean_backward"), stored("lean_backward")
    parts = results["models"][model]
    (_, after) = "\n".join(renderer._trained(parts)).split("Against the same by chance")
    assert f"- {method} " in after
    for taken in ("random", {"slimfit": "dynamics", "green-trainer": "importance"}[method]):
        fewer = [r for r in parts["trained"] if r["method"] != method or r["settings"]["select"] != taken]
        with pytest.raises(LookupError, match=method):
            renderer._trained(parts | {"trained": fewer})


def test_a_chart_of_slices_has_full_tuning_and_an_adapter_of_the_same_size():
    for info in page_of("lean_transformers").drawings(stored("lean_transformers")).values():
        assert {"full", "lora", "s2ft"} <= {place.method for place in info.costs[0].places}
        assert all(len(place.seeds) == 3 for cost in info.costs for place in cost.places)


@pytest.mark.parametrize("name", ["lean_backward", "lean_transformers"])
def test_one_method_has_one_colour_on_every_chart_and_operations_have_choosing_in_them(name):
    for info in page_of(name).drawings(stored(name)).values():
        if info.kind == "trade":
            looks = {(p.method, p.colour, p.marker) for cost in info.costs for p in cost.places}
            assert len(looks) == len({method for method, *_ in looks})
            assert "choosing" in info.costs[-1].label
    charts = page_of(name).charts
    assert charts.spent_share({"training": 70, "choosing": 8, "full": 100}) == 0.78


def test_green_trainers_operations_are_none_or_with_its_choosing():
    pairs = importlib.import_module("lean_backward_pairs")
    parts = stored("lean_backward")["models"]["minilm"]
    gflop, row = pairs.work(parts["predicted"]), next(r for r in parts["trained"] if r["method"] == "green-trainer")
    assert pairs.share_of(gflop, ())(row) is None
    alone = next(r for r in parts["operations"] if not r.get("par") and r["seed"] == row["seed"])
    assert pairs.share_of(gflop, parts["operations"])(row) > alone["training"] / alone["full"] + 0.05
    said = "\n".join(pairs._green_and_lora({a: {} for a in ("green-trainer lr=1", "lora lr=1")}, gflop, ()))
    assert "not known to be on par" in said


def _changed(model: str, part: str, change):
    results = copy.deepcopy(stored("lean_backward"))
    results["models"][model][part] = change(results["models"][model][part])
    return "\n".join(page_of("lean_backward")._section(model, results["models"][model], results, {}))


@pytest.mark.parametrize(
    ("model", "part", "sentence", "change"),
    [
        ("efficientnet-lite0", "norms", "held still at 0.001 against moving", {"score": lambda v: v * v}),
        ("efficientnet-lite0", "trained", "the last 3 blocks reach", {"score": lambda v: v * v}),
        ("efficientnet-lite0", "trained", "MobileTL against as many", {"kept": lambda v: v // 3}),
        ("minilm", "trained", "SlimFit's worst step", {"measured": lambda v: v * 3}),
        ("minilm", "peaks", "its worst step is reached", {"module": lambda v: "elsewhere"}),
        ("minilm", "operations", "of full tuning's operations: on par", {"training": lambda v: v // 2}),
        ("minilm", "scores", "every layer's first turn", {"layers": lambda v: v // 2}),
        ("mcu-net", "trained", "below tensors by chance", {"score": lambda v: 1 - v}),
    ],
)
def test_numbers_in_sentences_are_those_of_the_results(model, part, sentence, change):
    def changed(rows):
        one = rows if isinstance(rows, dict) else None
        for row in [one] if one else rows:
            for key, new in change.items():
                row[key] = new(row[key]) if row.get(key) is not None else None
        return rows

    before = next(line for line in _changed(model, part, lambda rows: rows).splitlines() if sentence in line)
    assert before not in _changed(model, part, changed).splitlines()


def test_a_model_with_rates_of_its_own_stands_beside_its_first_section():
    renderer, results = page_of("lean_transformers"), stored("lean_transformers")
    assert "trained" in results["models"].get("smollm2-rated", {}) or "not been run to the end" in "\n".join(
        renderer.page(results)
    )
    rows = [r for r in results["models"]["smollm2"]["trained"] if r["method"] in ("full", "lora", "s2ft")]
    rows = [r for r in copy.deepcopy(rows) if r["settings"].get("select") != "activation"]
    for row in rows:
        row["score"]["count"] = 80
    tried = [{"method": m, "rate": 1e-3, "score": 0.5, "count": 48} for m in ("full", "lora", "s2ft")]
    results["models"]["smollm2-rated"] = {"rates": tried, "trained": rows}
    page = "\n".join(renderer.page(results))
    (_, section) = page.split("\n## smollm2 again")
    assert "it stands below" in page and "slices-chart-smollm2-rated.svg" in section
    assert "S2FT's paper: better than LoRA" in section and "GreenTrainer" not in section.replace("green-trainer", "")
    assert "too few to tell apart" not in section


def test_numbers_in_sentences_of_the_microcontroller_page_are_those_of_the_results():
    from workbench.stats import mean, paired_difference

    parts = {name: part["found"] for name, part in stored("microcontroller")["parts"].items()}
    text = (ROOT / "docs" / "microcontroller.md").read_text(encoding="utf-8")
    rows = {row["label"]: row for row in parts["bytes"]["rows"]}
    plain = next(arm for arm in parts["arms"] if arm["label"] == "int8 SGD")
    head, most = rows["head alone"], next(r for r in parts["gains"]["rows"] if r["what"] == "last 16 biases")
    assert head["lr"] == plain["lr"] == 1
    gap = paired_difference(*(dict(enumerate(rows[name]["scores"])) for name in ("searched", "16 biases")))
    share, losses = f"{100 * head['score']:.1f}", head["losses"]
    for said in (
        f"at 1 it scores {share} % (on the test set",
        f"its training loss stays at {losses['0.1']:.2f} instead of {losses['1']:.2f}",
        f"where this table has {100 * most['gain']:+.2f} %",
        f"({100 * mean(plain['scores']):.1f} against {share} %)",
        f"are not told apart ({100 * gap.mean:+.1f}, {100 * gap.low:+.1f} to {100 * gap.high:+.1f})",
    ):
        assert said in text, said
    assert max(one["sram"] for one in parts["gains"]["searches"]) < 128 * 1024, "the last budget binds nothing"
    assert all(one["sram"] <= one["budget"] for one in parts["gains"]["searches"])
