"""The search equals brute force under exact bytes, arms get their own rates, the factory's net can be loaded again."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import torch

import workbench as wb
from workbench.core.errors import BadInput, Incompatible, UnknownName
from workbench.lens.microcontroller import plan_step
from workbench.models import resolve
from workbench.studies import microcontroller as micro
from workbench.studies.byte_arms import byte_arms
from workbench.studies.contribution import Contributions, contributions, search_bytes
from workbench.studies.factory import factory_model
from workbench.studies.norm_ratios import norm_ratios
from workbench.studies.tuned_arms import tuned_arms

LAYERS, SHARES, BIASES = (-1, -4), (Fraction(1, 4), Fraction(1)), {2: 0.02, 6: 0.05}
GAINS = {(-1, SHARES[0]): 0.01, (-1, SHARES[1]): 0.04, (-4, SHARES[0]): 0.02, (-4, SHARES[1]): 0.03}


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    monkeypatch.setenv("PINTPOT_RUNS", str(tmp_path / "runs"))


def bench(**changes):
    return wb.open(
        "digits", "mcu-net", **{"budget": "64GiB", "batch": 8, "train": 64, "test": 32, "steps": 2, **changes}
    )


@pytest.mark.parametrize("budget", [80_000, 110_000])
def test_the_search_is_as_good_as_trying_everything(budget):
    made, best = bench(), -1.0
    for k, *chosen in itertools.product((0, *BIASES), *((None, *SHARES) for _ in LAYERS)):
        weights = {i: share for i, share in zip(LAYERS, chosen) if share is not None}
        update = ",".join(f"{i}:{share}" for i, share in weights.items())
        if plan_step(made.case("int8-training", biases=k, update=update)).sram <= budget:
            best = max(best, BIASES.get(k, 0.0) + sum(GAINS[i, s] for i, s in weights.items()))
    found = search_bytes(made, Contributions(0.5, BIASES, GAINS, 6, 0), budget, trials=60)
    assert found.gain == pytest.approx(best)
    assert plan_step(made.case("int8-training", **found.settings)).sram == found.sram <= budget


def test_a_budget_below_the_head_names_the_shortfall():
    with pytest.raises(Incompatible, match=r"the head alone.*more"):
        search_bytes(bench(), Contributions(0.5, BIASES, GAINS, 6, 0), 60_000)
    with pytest.raises(BadInput, match="trials"):
        search_bytes(bench(), Contributions(0.5, BIASES, GAINS, 6, 0), 90_000, trials=0)


def test_contributions_are_differences_of_scores_that_runs_really_had():
    made = bench()
    found = contributions(made, biases=(2,), layers=(-1,), shares=("1/4",), validation=20, lr=0.1)
    assert (found.runs, found.reference, found.examples) == (3, 2, 20)
    score = {
        (k, u): made.validating(20).run("int8-training", 0, biases=k, update=u, lr=0.1).score["value"]
        for k, u in ((0, ""), (2, ""), (2, "-1:1/4"))
    }
    assert found.base == score[0, ""]
    assert {r.data["test"] for r in made.store.records()} == {20}, "no run was scored on the test set"
    assert found.biases[2] == score[2, ""] - score[0, ""]
    assert found.weights[-1, Fraction(1, 4)] == pytest.approx(score[2, "-1:1/4"] - score[2, ""])
    one = {scheme: (value,) for scheme, value in score.items()}
    assert found.scores == one
    assert found.pairs() == [(one[2, ""], one[0, ""]), (one[2, "-1:1/4"], one[2, ""])]


def test_every_arm_takes_the_rate_of_its_own_lowest_loss():
    arms = tuned_arms(bench(), "int8-training", {"a": {"biases": 0, "update": ""}}, {"a": (1e-6, 0.1)}, (0, 1))
    (arm,) = arms
    assert arm.losses[0.1] != arm.losses[1e-6]
    assert arm.lr == min(arm.losses, key=arm.losses.__getitem__)
    assert len(arm.scores) == 2 and {r.config["lr"] for r in arm.records} == {arm.lr}
    (known,) = [r for r in arm.records if r.seed == 0]
    assert arm.losses[arm.lr] == known.steps[-1].loss, "of two steps the last quarter is the last one"
    with pytest.raises(BadInput, match="seeds"):
        tuned_arms(bench(), "int8-training", {"a": {}}, {"a": (0.1,)}, ())


def test_byte_arms_cost_what_their_plans_say_and_grow():
    arms = byte_arms(bench(), {"mine": {"biases": 2, "update": "-1:1/4"}}, (0,), counts=(2, 4), rates=(0.1,))
    extra = {a.label: a.extra for a in arms}
    assert extra["head alone"] == 0 < extra["2 biases"] < extra["mine"] < extra["2 layers"] < extra["4 layers"]
    assert all(len(a.scores) == 1 for a in arms)


def test_norm_ratios_show_the_papers_picture():
    """Plain int8 ratios are orders of magnitude too large; scaled ones are float's (paper: figure of norm ratios)."""
    plain, raw, scaled = (torch.tensor(c.ratios).log10() for c in norm_ratios(bench(), warm=3))
    assert (raw - plain).min() > 3
    assert (scaled - plain).abs().max() < 0.2


def test_the_factory_trains_once_and_its_net_can_be_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("PINTPOT_CACHE", str(tmp_path / "cache"))
    made, said = bench(), []
    name = factory_model(made, epochs=0.25, progress=said.append)
    assert factory_model(made, epochs=0.25, progress=said.append) == name and len(said) == 1
    spec = resolve(name)
    assert (spec.kind, spec.shape, spec.parameters) == ("image-classifier", (1, 28, 28), 202_192)
    one, other = (spec.build(10, seed=seed) for seed in (0, 1))
    assert torch.equal(one.stem_conv.weight, other.stem_conv.weight), "the body comes from the folder"
    assert not torch.equal(one.classifier.weight, other.classifier.weight), "the head is fresh"
    assert one.stem_norm.running_mean.any(), "statistics come along"
    with pytest.raises(Incompatible, match="inverted-residual"):
        factory_model(wb.open("digits", "tiny-vit", budget="64GiB", train=64, test=32))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text('{"model_type": "efficientnet-lite", "shape": [1, 28]}')
    with pytest.raises(BadInput, match="3 positive whole numbers"):
        resolve(f"path:{tmp_path / 'bad'}")


def test_presets_and_grids_fit_the_arms():
    assert set(micro.GRIDS) == set(micro.ARMS)
    for name in micro.PRESETS:
        grids = micro.grids(micro.preset(name))
        assert set(grids) == set(micro.arms(micro.preset(name)))
        assert {"int8 QAS", "int8 QAS, sparse", "int8 SGD"} | {a for a in micro.ARMS if "lazy" in a} <= set(grids)
        assert all(set(grids[label]) <= set(micro.GRIDS[label]) for label in grids)
        assert all(len(g) <= micro.preset(name).rates for g in grids.values())
    with pytest.raises(UnknownName, match="quick"):
        micro.preset("quik")
