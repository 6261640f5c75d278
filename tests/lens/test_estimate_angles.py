"""Cosines of a run's estimates: they agree with the lens over many draws and change nothing of the training."""

import math
from dataclasses import replace

import pytest

import workbench as wb
from workbench import figures
from workbench.core.errors import BadInput
from workbench.records.store import RunStore

SETTINGS = {"gradient": "two-sided", "lr": 1e-4}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return replace(
        wb.open("tokens", "tiny-bert", batch=4, length=12, budget="64MiB", train=32, test=8, steps=8),
        store=RunStore(tmp_path_factory.mktemp("runs")),
    )


@pytest.fixture(scope="module")
def records(bench):
    asked = [bench.run("head", 0, cosines=4, **SETTINGS), bench.run("bias", 0, cosines=4)]
    return [*asked, bench.run("head", 0, **SETTINGS)]


def test_an_estimate_along_noise_has_a_cosine_at_chosen_steps(records):
    estimated, exact, unasked = records
    found = [s.layer_cosines for s in estimated.steps]
    assert 2 <= sum(map(bool, found)) <= 4 and found[0]
    assert all(-1 <= c <= 1 and c for one in found for c in one.values())
    # One probe in d dimensions lies at about 1 / sqrt(d) from the gradient.
    assert all(abs(one["all layers"]) < 6 / math.sqrt(estimated.trainable) for one in found if one)
    assert not any(s.layer_cosines for s in (*exact.steps, *unasked.steps))


def test_looking_changes_no_result_and_no_peak(records):
    estimated, _, unasked = records
    assert [(s.loss, s.peak) for s in estimated.steps] == [(s.loss, s.peak) for s in unasked.steps]
    assert estimated.score == unasked.score and estimated.id != unasked.id


def test_a_negative_count_is_refused(bench):
    with pytest.raises(BadInput, match="cosines"):
        bench.run("head", cosines=-1)


def test_the_figure_says_why_a_method_has_none(records):
    estimated, exact, unasked = records
    first, second = figures.gradients([estimated, exact]).maps
    if first.method != "head":
        first, second = second, first
    layer = next(i for i, frozen in enumerate(first.frozen) if not frozen)
    at = [i for i, v in enumerate(first.together) if v is not None]
    values = [s.layer_cosines for s in estimated.steps if s.layer_cosines]
    assert [first.together[i] for i in at] == [one["all layers"] for one in values] and not first.no_cosine
    assert all(first.cosines[layer][i] is not None for i in at)
    assert second.cosines == () and second.no_cosine.startswith("backpropagation")
    assert figures.gradients([unasked]).maps[0].no_cosine.startswith("not recorded")
