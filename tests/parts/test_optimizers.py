"""Update rules: the state they keep, the step they take, and that all of them lower a plain loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.core.errors import UnknownName
from workbench.parts.base import Parts, TrainingStep
from workbench.parts.estimator.backprop import Backprop
from workbench.parts.optimizer import named, names
from workbench.parts.optimizer.lars import TRUST
from workbench.parts.selection.all import All
from workbench.parts.storage.as_loaded import AsLoaded

#: Bytes of state per trained element, leaving out step counters and quantization tables.
#: A single row is not projected, so the rules that project keep what the rule inside them keeps.
STATE = {
    "sgd": 0, "momentum": 4, "adamw": 8, "adamw8bit": 2, "galore": 8, "natural_galore": 8, "lars": 0, "sign": 0,
    "subspace_gradient": 8 + 4 * 2 * 128,
}  # fmt: skip
SIZE = 65536  #: large enough that quantization tables weigh little


def _step(rule: str, lr: float = 1e-2) -> TrainingStep:
    torch.manual_seed(0)
    model = nn.Linear(SIZE, 1, bias=False)
    parts = Parts(All(), Backprop(), named(rule), AsLoaded())
    return TrainingStep(model, parts, lambda m, b: m(b["x"]).pow(2).mean(), lr)


def _batch() -> dict[str, torch.Tensor]:
    return {"x": torch.randn(4, SIZE, generator=torch.Generator().manual_seed(1)) / SIZE**0.5}


def test_every_rule_has_its_expected_state() -> None:
    assert set(names()) == set(STATE)


@pytest.mark.parametrize("rule", sorted(STATE))
def test_state_per_element(rule: str) -> None:
    step = _step(rule)
    step(_batch())
    held = sum(t.numel() * t.element_size() for t in step.optimizer_state())
    assert held == pytest.approx(STATE[rule] * SIZE, rel=0.12, abs=16)


@pytest.mark.parametrize("rule", sorted(STATE))
def test_the_loss_falls_and_gradients_are_dropped(rule: str) -> None:
    # A rule that moves every element by about its rate needs a small one here, or it oversteps the minimum.
    step = _step(rule, lr=1e-2 if rule in ("sgd", "momentum", "lars") else 1e-5)
    losses = [float(step(_batch())) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert all(p.grad is None for p in step.parameters)


def test_sgd_is_its_formula() -> None:
    step, batch = _step("sgd", 0.5), _batch()
    before = step.parameters[0].detach().clone()
    loss = step.loss_of(step.model, batch)
    (gradient,) = torch.autograd.grad(loss, step.parameters)
    step(batch)
    torch.testing.assert_close(step.parameters[0].detach(), before - 0.5 * gradient)


def test_lars_moves_every_tensor_by_the_same_share_of_its_norm() -> None:
    model = nn.Linear(8, 4)
    with torch.no_grad():
        model.weight.mul_(100)
        model.bias.zero_()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = named("lars").build(list(model.parameters()), lr=0.5)
    model(torch.ones(2, 8)).square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    for parameter, old, gradient in zip(model.parameters(), before, gradients):
        moved = old - parameter.detach()
        norm = old.norm() if old.any() else torch.tensor(1.0)
        torch.testing.assert_close(moved.norm(), 0.5 * TRUST * norm, rtol=1e-3, atol=0)
        torch.testing.assert_close(moved / moved.norm(), gradient / gradient.norm(), rtol=1e-3, atol=1e-3)


def test_signs_move_every_element_by_the_rate() -> None:
    step, batch = _step("sign", 0.5), _batch()
    before = step.parameters[0].detach().clone()
    (gradient,) = torch.autograd.grad(step.loss_of(step.model, batch), step.parameters)
    step(batch)
    assert torch.equal(step.parameters[0].detach(), before.add(gradient.sign(), alpha=-0.5))


def test_8_bit_stays_close_to_32_bit() -> None:
    ends = []
    for rule in ("adamw", "adamw8bit"):
        step = _step(rule)
        for _ in range(5):
            step(_batch())
        ends.append(step.parameters[0].detach().clone())
    start = _step("sgd").parameters[0].detach()
    assert float((ends[0] - ends[1]).norm()) < 0.1 * float((ends[0] - start).norm())


def test_an_unknown_rule_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="adamw"):
        named("adam")
