"""Batch norms whose scale is frozen keep the statistics that came with the weights, whatever is selected."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.case import Case
from workbench.memory.measure import measure


@functools.cache
def tuned(method: str, model: str = "efficientnet-lite0", **settings: object) -> tuple[torch.nn.Module, set[str]]:
    """The model after a step, and the names of the norms whose statistics it moved. No checkpoint is read."""
    case = Case("pixels", model, method, 2, 32 if model == "efficientnet-lite0" else 16, settings=settings)
    attached = case.attached(weights=False)
    norms = {n: m for n, m in attached.named_modules() if isinstance(m, _BatchNorm)}
    before = {n: m.running_mean.clone() for n, m in norms.items()}
    case.step(attached)(case.example(), seed=0)
    return attached, {n for n, m in norms.items() if not torch.equal(before[n], m.running_mean)}


@pytest.mark.parametrize("method", ["full", "last-blocks", "bias", "lora", "head", "sparse-update"])
def test_statistics_move_where_the_scale_trains_and_nowhere_else(method: str) -> None:
    model, moved = tuned(method)
    trained = {n for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.weight.requires_grad}
    assert moved == trained
    assert bool(moved) == (method in ("full", "last-blocks"))


def test_the_lazy_variant_moves_them_all_and_saves_what_it_moved() -> None:
    kept, lazy = tuned("head"), tuned("head", statistics="moving")
    every = {n for n, m in lazy[0].named_modules() if isinstance(m, _BatchNorm)}
    assert lazy[1] == every and not kept[1]
    states = [case.method.adapter_state(model) for case, (model, _) in ((_case("head"), kept), (_case("head"), lazy))]
    assert not any("running" in n for n in states[0]) and sum("running_mean" in n for n in states[1]) == len(every)


def test_random_weights_have_no_statistics_worth_keeping() -> None:
    _, moved = tuned("head", "tiny-cnn")
    assert moved


def test_they_are_those_of_evaluation_in_training_too() -> None:
    """A model all of whose norms are kept gives the same logits in both modes, since it has no active dropout."""
    case = _case("bias")
    model = case.attached(weights=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = {n: t for n, t in case.example()[0].items() if n != "labels"}
    with torch.no_grad():
        training = model.train()(**batch).logits
        assert torch.equal(training, model.eval()(**batch).logits)
    lazy = _case("bias", statistics="moving").attached(weights=False)
    lazy.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert not torch.allclose(training, lazy.train()(**batch).logits, rtol=0.01)


@pytest.mark.parametrize("method", ["last-blocks", "bias", "lora"])
def test_prediction_stays_exact(method: str) -> None:
    for statistics, executor in itertools.product(("kept", "moving"), ("eager",)):
        case = _case(method, statistics=statistics, executor=executor)
        predicted, measured = case.predict(), measure(case.step(case.attached(weights=False)), case.example())
        assert predicted.peak == measured.peak and predicted.saved == measured.saved


def _case(method: str, **settings: object) -> Case:
    return Case("pixels", "efficientnet-lite0", method, 2, 32, settings=settings)
