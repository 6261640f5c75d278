"""The family of forward-only tuning is a product of parts: rules, scopes, acceptance and objectives, each by itself."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workbench.core.errors import BadInput, Incompatible
from workbench.core.schedule import Schedule
from workbench.core.seeds import derive
from workbench.engine.journal import Journal
from workbench.engine.noise import Noise, numbered
from workbench.memory.measure import measure
from workbench.methods.base import methods
from workbench.models.structure import upper
from workbench.parts.base import Parts, TrainingStep
from workbench.parts.estimator.block_wise import BlockWise, groups
from workbench.parts.estimator.zeroth_order import ZerothOrder
from workbench.parts.optimizer import named
from workbench.parts.selection.all import All
from workbench.parts.storage.as_loaded import AsLoaded
from workbench.records.schema import State, StepRecord
from workbench.session import Session, run
from workbench.tasks.base import Sizes
from workbench.testing import Subject, subject_of

FAMILY: tuple[dict[str, Any], ...] = (
    {"optimizer": "sign"},
    {"slope": "sign", "probes": 2},
    {"accept": "best-of-three"},
    {"accept": "best-of-three", "gradient": "forward"},
    {"scope": "block-wise"},
    {"scope": "block-wise", "optimizer": "adamw", "model": "tiny-cnn"},
    {"scope": "block-wise", "optimizer": "adamw", "gradient": "one-sided"},
    {"backprop_blocks": 1},
    {"backprop_blocks": 1, "optimizer": "momentum"},
    {"objective": "error", "perturbation": 1e-2},
)


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("settings", FAMILY, ids=str)
def test_every_member_is_predicted_to_the_byte(settings: dict[str, Any]) -> None:
    settings = dict(settings)
    subject = Subject("mezo", settings.pop("model", "tiny-bert"), settings)
    predicted = subject.case.predict()
    measured = measure(subject.case.step(subject.attached()), subject.case.example())
    assert predicted.peak == measured.peak
    assert (predicted.saved > 0) == ("backprop_blocks" in settings)


@pytest.mark.parametrize("method", [m.name for m in methods if m.card.family in ("adapters", "prompts")])
def test_every_tuner_of_peft_can_be_what_noise_trains(method: str) -> None:
    """What is frozen keeps its bits; of what is trained something moves. SHiRA is the sparse mask of the family."""
    found = subject_of(method)
    if found is None:
        pytest.skip("no tiny model that it serves")
    noise = {"gradient": "two-sided", "optimizer": "sgd", "perturbation": 1e-2}
    subject = Subject(method, found.model_name, {**found.settings, **noise})
    model = subject.attached()
    before = copied(model)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    step = subject.case.step(model)
    step.set_lr(1e-2)
    step(subject.examples(), seed=1)
    moved = changed(model, before)
    assert moved
    assert moved <= trained


def test_the_sign_of_a_slope_and_the_sign_of_an_element_are_two_rules() -> None:
    subject = Subject("mezo", "tiny-bert", {"slope": "sign"})
    step = subject.case.step(subject.attached())
    step.journal = Journal()
    step.set_lr(0.25)
    step(subject.examples(), seed=3)
    ((_, (scale,)),) = step.journal.updates
    assert abs(scale) == 0.25
    other = Subject("mezo", "tiny-bert", {"optimizer": "sign"})
    model = other.attached()
    before = copied(model)
    step = other.case.step(model)
    step.set_lr(0.25)
    step(other.examples(), seed=3)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close((parameter.detach() - before[name]).abs(), torch.full_like(before[name], 0.25))


def test_the_conservative_step_never_raises_the_loss_of_its_batch_and_its_journal_replays_it() -> None:
    """At a rate at which the plain step does raise it; some steps stay, and staying is not written down."""
    raised = {}
    for accept in ("always", "best-of-three"):
        subject = Subject("mezo", "tiny-bert", {"accept": accept})
        model = subject.attached().eval()
        start = copy.deepcopy([p.detach() for p in model.parameters() if p.requires_grad])
        step = subject.case.step(model)
        step.journal = Journal()
        step.set_lr(2e-2)
        losses = []
        with torch.no_grad():
            for seed in range(12):
                losses.append(float(subject.case.task.loss(model, subject.examples()[0])))
                step(subject.examples()[0], seed=seed)
            losses.append(float(subject.case.task.loss(model, subject.examples()[0])))
        raised[accept] = sum(b > a for a, b in itertools.pairwise(losses))
        Journal.from_bytes(step.journal.to_bytes()).replay(start)
        assert all(map(torch.equal, start, step.parameters))
    assert raised["always"] > 0
    assert raised["best-of-three"] == 0


def test_blocks_take_turns_and_leave_no_parameter_out() -> None:
    """As many pairs of forwards as groups; the second block's slope is taken after the first block's update."""
    subject = Subject("mezo", "tiny-bert", {"scope": "block-wise"})
    model = subject.attached().eval()
    step = subject.case.step(model)
    found = groups(model, step.parameters)
    assert sorted(id(p) for g in found for p in g) == sorted(map(id, step.parameters))
    calls = []
    loss_of = step.loss_of
    step.loss_of = lambda m, b: calls.append(copied(m)) or loss_of(m, b)  # type: ignore[func-returns-value]
    step.set_lr(1e-2)
    step(subject.examples()[0], seed=2)
    assert len(calls) == 2 * len(found)
    names = {id(p): n for n, p in model.named_parameters()}
    middles = [{n: (p[n] + m[n]) / 2 for n in p} for p, m in zip(calls[::2], calls[1::2])]  # what +z and -z share
    for group, now, later in zip(found, middles, middles[1:]):
        moved = {n for n in now if not torch.allclose(now[n], later[n], rtol=1e-6, atol=1e-6)}
        assert moved == {names[id(p)] for p in group}
    with pytest.raises(Incompatible, match="journal"):
        step.journal = Journal()
        step(subject.examples()[0], seed=2)


def test_one_group_is_the_step_it_wraps() -> None:
    """The limit of block-wise: where everything lies in no block there is one turn, of another seed."""

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.linspace(-1, 1, 6))

    seen = []
    inner = ZerothOrder(eps=1e-2)
    for estimator, seed in ((BlockWise(inner), 5), (inner, None)):
        model = Line()
        parts = Parts(All(), estimator, named("sgd"), AsLoaded(), per_parameter=True)
        step = TrainingStep(model, parts, lambda m, _: m.w.pow(2).sum(), lr=0.1)
        step({}, seed=seed if seed is not None else derive(5, "block", 0))
        seen.append(model.w.detach())
    assert torch.equal(*seen)


def test_the_hybrid_is_noise_below_and_backpropagation_above() -> None:
    """Above, bit for bit what backpropagation gives once the lower part has moved; below, along the noise."""
    subject = Subject("mezo", "tiny-bert", {"backprop_blocks": 1})
    model = subject.attached().eval()
    before = copied(model)
    step = subject.case.step(model)
    step.set_lr(1e-2)
    step(subject.examples()[0], seed=4)
    above = upper(model, 1)
    names = {n for n, p in model.named_parameters() if id(p) in above}
    assert all(p.requires_grad for p in model.parameters())
    other = subject.attached().eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(before[name] if name in names else dict(model.named_parameters())[name])
    loss = subject.case.task.loss(other, subject.examples()[0])
    chosen = {n: p for n, p in other.named_parameters() if n in names}
    for (name, parameter), gradient in zip(chosen.items(), torch.autograd.grad(loss, list(chosen.values()))):
        moved = parameter.detach().add(gradient, alpha=-1e-2)
        assert torch.equal(moved, dict(model.named_parameters())[name])
    below = [p for p in step.parameters if id(p) not in above]
    noise = Noise([derive(4, "probe", 0)], [1.0])
    name = next(n for n, p in model.named_parameters() if p is below[0])
    z = noise.like(below[0].detach(), numbered([0])).flatten()
    moved = (below[0].detach() - before[name]).flatten()
    assert float(torch.nn.functional.cosine_similarity(moved, z, dim=0).abs()) > 0.999


@pytest.mark.parametrize("gradient", ["two-sided", "one-sided"])
def test_a_loss_that_is_not_finite_stops_with_seed_and_step_and_keeps_the_weights(gradient: str) -> None:
    """The loss breaks only where the weights are perturbed, at the third step; the run says where it ended."""

    class Broken(Session):
        def prepare(self) -> None:
            super().prepare()
            loss_of, third, asked = self.training.loss_of, derive(7, "step", 2), []

            def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
                asked.append(self.training.seed)
                bad = asked.count(third) == 2 and asked[-1] == third
                return loss_of(model, batch) * (math.nan if bad else 1.0)

            self.training.loss_of = loss

        def steps(self) -> Iterator[StepRecord]:
            for record in super().steps():
                self.last = [p.detach().clone() for p in self.training.parameters]
                yield record

    subject = Subject("mezo", "tiny-cnn", {"gradient": gradient})
    case = replace(subject.case, task_name="digits", batch=8)
    session = Broken(case, 7, schedule=Schedule(steps=6), sizes=Sizes(32, 16))
    record = run(session, predict=False)
    assert record.state is State.DIVERGED
    assert "step 3 (seed 7)" in record.reason
    assert len(record.steps) == 2
    assert all(map(torch.equal, session.last, session.training.parameters))
    with pytest.raises(BadInput, match="probes"):
        Subject("mezo", "tiny-bert", {"probes": 0}).case  # noqa: B018
    with pytest.raises(BadInput, match="perturbation"):
        Subject("mezo", "tiny-bert", {"perturbation": 0}).case  # noqa: B018


def test_training_on_wrong_answers_needs_no_derivative_and_lowers_them() -> None:
    """Labels of a hidden line, learned from nothing but how many are wrong."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, 6, generator=generator)
    y = (x @ torch.randn(6, generator=generator) > 0).long()
    errors = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = nn.Linear(6, 2)
        parts = Parts(All(), ZerothOrder(8, eps=0.3), named("sgd"), AsLoaded(), per_parameter=True)
        step = TrainingStep(net, parts, lambda m, _: (m(x).argmax(1) != y).float().mean(), lr=0.3)
        with torch.no_grad():
            first = float(step.loss_of(net, {}))
            for index in range(60):
                step({}, seed=1000 * seed + index)
            errors.append((first, float(step.loss_of(net, {}))))
    assert all(after < 0.15 and after < before for before, after in errors)


def test_an_objective_without_derivative_is_refused_where_one_is_needed() -> None:
    for settings in ({"gradient": "forward"}, {"backprop_blocks": 1}):
        with pytest.raises(Incompatible, match="no derivative"):
            Subject("mezo", "tiny-bert", {"objective": "error", **settings}).attached()
    with pytest.raises(Incompatible, match="no derivative"):
        Subject("full", "tiny-bert", {"objective": "error"}).attached()
    with pytest.raises(Incompatible, match="no slope"):
        Subject("full", "tiny-bert", {"scope": "block-wise"}).attached()


def test_the_estimate_turns_to_the_gradient_as_probes_grow() -> None:
    """cos^2 of the angle is near q / (q + d + 1): the limit of many probes is the gradient itself."""
    d, found = 12, []
    target = torch.linspace(1, 2, d, dtype=torch.float64)
    for probes in (1, 12, 1024):
        net = nn.Linear(d, 1, bias=False).double()
        parts = Parts(All(), ZerothOrder(probes, eps=1e-4), named("sgd"), AsLoaded(), per_parameter=True)
        step = TrainingStep(net, parts, lambda m, _: m.weight[0] @ target, lr=0.0)
        squares = []
        step.observer = lambda p, squares=squares: squares.append(  # type: ignore[misc]
            float(torch.nn.functional.cosine_similarity(p.grad[0], target, dim=0) ** 2)
        )
        for seed in range(40 if probes < 1000 else 4):
            step({}, seed=seed)
        found.append(sum(squares) / len(squares))
        assert found[-1] == pytest.approx(probes / (probes + d + 1), abs=0.12)
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.97
