"""Arms of the comparison are ways that their methods know, and lazy ones are given away by their bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.core.spelling import parsed_way
from workbench.studies import lean_backward as lean

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "lean_backward.json"
HALVES = {
    "convolutions": (lean.CONVOLUTIONS, lean.convolution_arms),
    "transformers": (lean.TRANSFORMERS, lean.transformer_arms),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("profile", ["quick", "standard"])
def test_arms_are_ways_that_the_methods_serve(half: str, profile: str) -> None:
    places, make = HALVES[half]
    bench = lean.opened(profile, places)
    assert (bench.task, bench.model) == places.get(profile, places[""])
    arms = make(bench)
    assert len(set(arms.trained)) == len(arms.trained)
    refused = []
    for way in (*arms.trained, *arms.lazy):
        method, settings = parsed_way(way)
        if bench.case(method, **settings).refusal() is not None:
            refused.append(method)
    assert refused == (["checkpointing"] if half == "convolutions" else [])  # batch norms would be updated twice


def test_slimfit_takes_the_best_rate_of_each_shares_own_grid() -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["models"]["tiny-vit"]["rates"]
    bench = lean.opened("quick", lean.TRANSFORMERS)
    for way in lean.transformer_arms(bench, lean.FROZEN).trained:
        method, settings = parsed_way(way)
        if method == "slimfit":
            grid = {
                r["rate"]: r["score"] for r in rows if r["way"].split() == [w for w in way.split() if "lr=" not in w]
            }
            assert len(grid) >= 3 and grid[settings["lr"]] >= max(grid.values()) - 0.0051  # an example does not decide
    (other,) = lean.slimfit_ways(bench, (0.42,))
    assert parsed_way(other)[1]["lr"] == parsed_way(lean.slimfit_ways(bench, (0.6,))[0])[1]["lr"]


@pytest.mark.parametrize("half", HALVES)
def test_lazy_arms_are_given_away(half: str) -> None:
    places, make = HALVES[half]
    bench = lean.opened("quick", places)
    arms = make(bench)

    def kept(way: str) -> int:
        method, settings = parsed_way(way)
        return bench.case(method, **settings).predict().saved

    ours = {way.split()[0]: kept(way) for way in arms.papers}
    assert all(kept(way) > 1.2 * ours[way.split()[0]] for way in arms.lazy)


def test_the_page_names_what_it_is_about() -> None:
    benches = [lean.opened("quick", places) for places, _ in HALVES.values()]
    assert list(lean.places(*benches)) == ["digits on tiny-cnn", "digits on tiny-vit"]
