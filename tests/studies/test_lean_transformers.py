"""The arms of the comparison are at equal terms, whatever the model."""

from __future__ import annotations

import pytest

import workbench as wb
from workbench.core.errors import BadInput
from workbench.core.spelling import parsed_way
from workbench.studies.lean_transformers import (
    NOT_COUNTED,
    arms,
    equal_channels,
    kept_and_computed,
    opened,
    trained_numbers,
)


@pytest.mark.parametrize(("task", "model"), [("digits", "tiny-vit"), ("tokens", "tiny-llama"), ("tokens", "tiny-bert")])
def test_slices_train_as_many_numbers_as_the_adapter(task: str, model: str) -> None:
    bench = wb.open(task, model, budget="1GiB", batch=4)
    share = equal_channels(bench, 1)
    slices, adapter = trained_numbers(bench, "s2ft", channels=share), trained_numbers(bench, "lora", r=1)
    assert slices == pytest.approx(adapter, abs=64)  # to one channel
    with pytest.raises(BadInput, match="rank"):
        equal_channels(bench, 4096)


def test_arms_are_ways_that_the_methods_know() -> None:
    bench = opened("quick")
    assert (bench.task, bench.model, bench.held_out) == ("digits", "tiny-vit", "")
    made = arms(bench, rhos=(0.6, 0.8))
    for way in (*made.slices, *made.lazy, *made.tensors):
        method, settings = parsed_way(way)
        assert bench.case(method, **settings).refusal() is None
    assert len([w for w in made.tensors if "rho=0.6" in w]) == 3


def test_lazy_arms_are_given_away_by_what_they_keep() -> None:
    bench = opened("quick")
    made = arms(bench, rhos=(0.6,))
    rows = kept_and_computed(bench, [made.slices[2], *made.lazy])
    slices, mask, delta = ({k: row[k] for k in row if k != "way"} for row in rows)
    assert slices["trained numbers"] == delta["trained numbers"] != mask["trained numbers"]
    assert float(delta["forward GFLOP"]) > float(slices["forward GFLOP"]) == float(mask["forward GFLOP"])
    assert float(mask["backward GFLOP"]) > float(slices["backward GFLOP"])


def test_integers_that_train_are_counted_and_their_products_are_not_called_operations() -> None:
    bench = wb.open("digits", "mcu-net", budget="4GiB", batch=2)
    whole, lazy = kept_and_computed(bench, ["int8-training update=all", "int8-training update=all graph=fake"])
    assert int(whole["trained numbers"].replace(",", "")) > trained_numbers(bench, "head") > 0
    assert whole["forward GFLOP"] == whole["backward GFLOP"] == NOT_COUNTED
    assert float(lazy["backward GFLOP"]) > 0
