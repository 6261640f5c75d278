"""Layers that moved most train; the rest takes no gradient, and what is packed or dropped shows in the bytes."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import Category
from workbench.core.schedule import Schedule
from workbench.core.units import format_size
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.parts.estimator import dynamics
from workbench.parts.estimator.dynamics import UNSEEN, distances, layers, relative_distance
from workbench.records.schema import RunRecord
from workbench.session import Session, run
from workbench.tasks.base import Sizes
from workbench.testing import Subject

MODELS = ("tiny-bert", "tiny-vit")


def step_of(model: str, **settings: Any) -> tuple[Any, Any]:
    subject = Subject("slimfit", model, settings)
    return subject.case.step(subject.attached()), subject.examples()


def trained_in(step: Any, batch: Any, seed: int) -> set[str]:
    """Layers whose bits change in a step."""
    before = {n: p.detach().clone() for n, p in step.model.named_parameters()}
    step(batch, seed=seed)
    return {n for n in layers(step.model) if not torch.equal(before[n], step.model.get_parameter(n))}


# -- exactness -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_with_nothing_frozen_and_nothing_packed_it_is_full_tuning_to_the_bit(model: str) -> None:
    full = Subject("full", model, {"lr": 1e-3})
    slim = Subject("slimfit", model, {"frozen": 0.0, "packed": False, "lr": 1e-3})
    wanted, found = full.attached(), slim.attached()
    assert slim.trained(found, 4)[1] == full.trained(wanted, 4)[1]
    assert all(torch.equal(p, found.get_parameter(n)) for n, p in wanted.named_parameters())


@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_what_trains_are_autograds_when_nothing_is_packed(model: str) -> None:
    step, batch = step_of(model, frozen=0.6, packed=False)
    step.model.double()
    step.reset_optimizer()
    doubled = [{n: t.double() if t.is_floating_point() else t for n, t in batch[0].items()}]
    seen: dict[str, torch.Tensor] = {}
    names = {id(p): n for n, p in step.model.named_parameters()}
    step.observer = lambda p: seen.update({names[id(p)]: p.grad.clone()})
    step.set_lr(0.0)
    torch.manual_seed(1)
    step(doubled, seed=0)
    torch.manual_seed(1)
    step.loss_of(step.model, doubled[0]).backward()
    held = len(layers(step.model)) - len([n for n in seen if n in set(layers(step.model))])
    assert held == math.floor(0.6 * len(layers(step.model)))
    for name, found in seen.items():
        torch.testing.assert_close(found, step.model.get_parameter(name).grad, rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_packing_leaves_the_forward_pass_alone_and_turns_gradients_a_little(model: str) -> None:
    found = {}
    for packed in (False, True):
        subject = Subject("slimfit", model, {"frozen": 0.0, "packed": packed})
        attached = subject.attached().eval()  # dropout acts elsewhere when packed
        loss = subject.case.task.loss(attached, subject.examples()[0])
        loss.backward()
        found[packed] = float(loss), {n: p.grad for n, p in attached.named_parameters() if p.grad is not None}
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
    whole = [torch.cat([g.flatten() for g in grads.values()]) for _, grads in found.values()]
    assert 0.001 < (whole[1] - whole[0]).norm() / whole[0].norm() < 0.15


# -- the schedule --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [0.5, 0.8, 0.95])
def test_every_layer_trains_once_in_the_first_rounds(frozen: float) -> None:
    step, batch = step_of("tiny-vit", frozen=frozen)
    total = len(layers(step.model))
    each = total - math.floor(frozen * total)
    seen: set[str] = set()
    for i in range(-(-total // each)):
        now = trained_in(step, batch, i)
        assert len(now) == each
        seen |= now
    assert seen == set(layers(step.model))
    assert (distances(step.model) < UNSEEN).all()


def test_then_those_that_moved_most_train_and_only_theirs_is_refreshed() -> None:
    step, batch = step_of("tiny-vit", frozen=0.8)
    names = layers(step.model)
    scores = getattr(step.model, dynamics.SCORES)
    scores.copy_(torch.linspace(1, 2, len(names), dtype=torch.float64))
    before = distances(step.model).copy()
    assert trained_in(step, batch, 0) == set(names[math.floor(0.8 * len(names)) :])
    moved = {names[i] for i in np.flatnonzero(before != distances(step.model))}
    assert moved == set(names[math.floor(0.8 * len(names)) :])


def test_a_frozen_layer_stays_although_the_optimizer_has_momentum_for_it() -> None:
    step, batch = step_of("tiny-vit", frozen=0.9)
    for i in range(20):
        names = set(layers(step.model))
        chosen = trained_in(step, batch, i)
        assert len(chosen) == len(names) - math.floor(0.9 * len(names))
    state = {id(p) for o in step.optimizers for p in o.state}
    assert all(id(p) in state for p in step.parameters)


def test_distances_are_relative_and_zeros_count_for_nothing() -> None:
    before = torch.tensor([2.0, -4.0, 0.0, 1.0])
    now = torch.tensor([3.0, -3.0, 5.0, 1.0])
    assert float(relative_distance(now, before.clone())) == pytest.approx((0.5 + 0.25 + 0.0) / 3)
    assert float(relative_distance(torch.ones(3), torch.zeros(3))) == 0.0


def test_random_and_last_choose_as_many() -> None:
    for select in ("random", "last"):
        step, batch = step_of("tiny-vit", frozen=0.8, select=select)
        names = layers(step.model)
        rounds = [trained_in(step, batch, i) for i in range(3)]
        assert {len(r) for r in rounds} == {len(names) - math.floor(0.8 * len(names))}
        if select == "last":
            assert rounds[0] == rounds[1] == set(names[math.floor(0.8 * len(names)) :])
        else:
            assert rounds[0] != rounds[1]


def test_watched_distances_are_those_of_layers_that_trained() -> None:
    step, batch = step_of("tiny-vit", frozen=0.9)
    assert step.parts.estimator.watched(step.model) == {}
    chosen = trained_in(step, batch, 0)
    assert set(step.parts.estimator.watched(step.model)) == chosen


# -- bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"frozen": 0.0},
        {"frozen": 0.6, "packed": False},
        {"select": "last"},
        {"select": "random", "optimizer": "sgd"},
        {"gradients": "all"},
        {"keep": 0.5, "bit_masks": True},
    ],
)
def test_predicted_bytes_are_measured_bytes(model: str, settings: dict[str, Any]) -> None:
    if model == "tiny-vit" and "bit_masks" in settings:
        settings = {"keep": 0.5}  # it has no dropout
    case = Subject("slimfit", model, settings).case
    predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
    assert predicted.peak == measured.peak and predicted.saved == measured.saved
    assert predicted.by_category[Category.OPTIMIZER] == measured.by_category[Category.OPTIMIZER]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frozen", [0.3, 0.95])
def test_no_step_needs_more_than_the_worst_that_is_predicted(model: str, frozen: float) -> None:
    """Sets drawn at random, with state for every layer; a few of them reach what was predicted, none passes it."""
    subject = Subject("slimfit", model, {"frozen": frozen, "select": "random"})
    step, batch = subject.case.step(subject.attached()), subject.examples()
    step.parts.estimator._give_state(step, layers(step.model))
    peaks = []
    for i in range(20):
        with guard(2**40, step, batch) as guarded:
            step(batch, seed=i)
        peaks.append(guarded.peak)
    predicted = subject.case.predict().peak
    assert max(peaks) <= predicted
    assert max(peaks) > 0.85 * predicted


@pytest.mark.parametrize("accumulate", [1, 3])
def test_worst_sets_bound_pairs_of_layers(accumulate: int) -> None:
    """Every pair of the wide layers; that no pair at all needs more was tried once."""
    case = Case("pixels", "tiny-vit", "slimfit", 2, accumulate=accumulate, settings={"frozen": 0.95})
    step, batch = case.step(case.attached()), case.example()
    estimator, names = step.parts.estimator, layers(step.model)
    estimator._give_state(step, names)
    assert len(names) - math.floor(0.95 * len(names)) == 2
    wide = [n for n in names if n.endswith(("o_proj.weight", "fc1.weight", "fc2.weight", "projection.weight"))]
    scores = getattr(step.model, dynamics.SCORES)
    highest = 0
    for pair in combinations(wide, 2):
        scores.copy_(torch.tensor([float(n in pair) for n in names], dtype=torch.float64))
        with guard(2**40, step, batch) as guarded:
            step(batch, seed=0)
        highest = max(highest, guarded.peak)
    predicted = case.predict().peak
    assert 0.99 * predicted <= highest <= predicted


@pytest.mark.parametrize("model", MODELS)
def test_more_frozen_keeps_less_and_the_lazy_ways_are_given_away(model: str) -> None:
    saved = {
        name: Subject("slimfit", model, settings).case.predict().saved
        for name, settings in {
            "0": {"frozen": 0.0}, "0.5": {"frozen": 0.5}, "0.95": {}, "requires_grad only": {"packed": False},
            "masked": {"gradients": "all"},
        }.items()
    }  # fmt: skip
    full = Subject("full", model).case.predict().saved
    assert saved["0.95"] < saved["0.5"] < saved["0"] == saved["masked"] < full
    assert saved["requires_grad only"] > 2 * saved["0.95"]


# -- adapters and refusals -----------------------------------------------------------------------------------


def test_the_adapter_holds_what_trained_at_some_time() -> None:
    subject = Subject("slimfit", "tiny-vit", {"frozen": 0.9})
    model = subject.attached()
    subject.trained(model, 2)
    state = subject.method.adapter_state(model)
    kept = [n for n in layers(model) if n in state]
    assert len(kept) == 2 * (len(layers(model)) - math.floor(0.9 * len(layers(model))))
    assert all(n in state for n, p in model.named_parameters() if n.endswith("bias") and p.requires_grad)


@pytest.mark.parametrize(
    ("model", "word"), [("tiny-cnn", "transformer"), ("tiny-llama", "silu"), ("tiny-sensor", "none")]
)
def test_models_it_has_no_formats_for_are_refused_at_plan_time(model: str, word: str) -> None:
    assert word in (Subject("slimfit", model).case.refusal() or "")


def test_clashes_are_one_sentence() -> None:
    assert "packed already" in (Subject("slimfit", "tiny-vit", {"saved": "int8"}).case.refusal() or "")
    with pytest.raises(Incompatible, match="own"):
        Subject("slimfit", "tiny-vit", {"executor": "graph"}).attached()


def test_a_run_says_what_its_steps_needed_beside_the_dearest_choice() -> None:
    case = Case("tokens", "tiny-bert", "slimfit", 2, 8)
    record = run(Session(case, schedule=Schedule(steps=3), sizes=Sizes(train=8, test=2)))
    assert record.predicted.peak == record.measured.peak > record.steps_peak
    (note,) = record.notes
    assert "dearest step" in note and note.endswith(format_size(record.steps_peak))
    assert record.to_dict()["steps_peak"] == record.steps_peak == max(step.peak for step in record.steps)
    assert RunRecord.from_dict(record.to_dict()) == record
