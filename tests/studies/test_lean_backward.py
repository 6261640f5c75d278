"""Arms of the comparison are ways that their methods know, and lazy ones are given away by their bytes."""

from __future__ import annotations

import pytest

from workbench.core.spelling import parsed_way
from workbench.studies import lean_backward as lean

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


def test_slimfits_rate_rises_with_what_is_frozen() -> None:
    bench = lean.opened("quick", lean.TRANSFORMERS)
    ways = [parsed_way(way)[1] for way in lean.slimfit_ways(bench)]
    assert [w["frozen"] for w in ways] == list(lean.FROZEN)
    assert [w["lr"] for w in ways] == sorted({w["lr"] for w in ways})


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
