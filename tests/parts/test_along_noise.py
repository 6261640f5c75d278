"""Slopes along noise as the gradient of any method: what they are, what they leave alone, and what they cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.profile import Category, Phase
from workbench.core.seeds import derive
from workbench.engine.journal import Journal
from workbench.engine.noise import Noise, numbered
from workbench.engine.tangent import Tangent
from workbench.memory.measure import measure
from workbench.parts.base import TrainingStep
from workbench.testing import Subject
from workbench.testing.subject import TINY

METHODS = ("full", "head", "bias", "last-blocks", "lora", "dora", "ia3", "prompt-tuning")
GRADIENTS = ("two-sided", "one-sided", "forward")


def slope_of(subject: Subject, seed: int, **settings: object) -> float:
    """The slope that a step took along the first parameter's noise, read off its update."""
    chosen = Subject(subject.method_name, subject.model_name, {**subject.settings, **settings})
    step = chosen.case.step(chosen.attached())
    step.journal = Journal()
    step.set_lr(-1.0)
    step(chosen.examples(), seed=seed)
    ((_, (scale,)),) = step.journal.updates
    return scale


@pytest.mark.parametrize("model_name", TINY)
def test_the_forward_slope_is_the_gradient_times_the_noise(model_name: str) -> None:
    """Against backpropagation, with the rows of padding made to count in both."""
    subject = Subject("mezo", model_name)
    model = subject.attached().eval()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.padding_idx = None
    weights = list(model.parameters())
    gradients = torch.autograd.grad(subject.case.task.loss(model, subject.examples()[0]), weights)
    noise = Noise([derive(3, "probe", 0)], [1.0])
    parts = [
        g.double().flatten() @ noise.like(w.detach(), numbered([i])).double().flatten()
        for i, (g, w) in enumerate(zip(gradients, weights))
    ]
    expected = float(sum(parts))
    seen = slope_of(subject, 3, gradient="forward")
    scale = float(sum(abs(p) for p in parts))
    assert abs(seen - expected) < 1e-4 * scale


def test_the_three_slopes_agree_where_the_loss_is_smooth() -> None:
    """On a small net in double precision: central differences to second order, one-sided ones to first."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    x = torch.randn(9, 5, dtype=torch.float64)
    subject = Subject("mezo", "tiny-bert")

    def slope(eps: float, gradient: str) -> float:
        config = subject.method.configure(gradient=gradient, perturbation=eps)
        from workbench.methods import _levers

        parts = _levers.applied(subject.method.parts(config), config)
        step = TrainingStep(net, parts, lambda model, _: model(x).pow(2).mean(), lr=0.0)
        found: list[Tensor] = []
        step.observer = lambda p: found.append(p.grad.detach().clone())
        step({}, seed=5)
        z = Noise([derive(5, "probe", 0)], [1.0]).like(net[0].weight, numbered([0]))
        return float((found[0] / z).mean())

    exact = slope(1e-3, "forward")
    errors = {g: [abs(slope(eps, g) - exact) for eps in (1e-2, 1e-3)] for g in ("two-sided", "one-sided")}
    assert errors["two-sided"][1] < errors["two-sided"][0] / 50 < errors["one-sided"][0]
    assert errors["one-sided"][0] / 20 < errors["one-sided"][1] < errors["one-sided"][0] / 5


@pytest.mark.parametrize("method", METHODS)
def test_any_method_trains_without_a_backward_pass(method: str) -> None:
    """Frozen tensors and the weights at rate zero keep their bits, and the prediction is exact."""
    subject = Subject(method, "tiny-bert", {"gradient": "two-sided", "optimizer": "sgd"})
    model = subject.attached()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    step, _ = subject.trained(model, 2, lr=0.0)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    step.set_lr(1e-3)
    step(subject.examples(), seed=1)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert moved <= {n for n, p in model.named_parameters() if p.requires_grad}
    predicted = subject.case.predict()
    measured = measure(subject.case.step(subject.attached()), subject.case.example())
    assert predicted.peak == measured.peak
    assert predicted.saved == 0
    assert Phase.BACKWARD not in predicted.by_phase


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_gradient_goes_with_every_rule(gradient: str, optimizer: str) -> None:
    subject = Subject("full", "tiny-bert", {"gradient": gradient, "optimizer": optimizer, "probes": 2})
    predicted = subject.case.predict()
    measured = measure(subject.case.step(subject.attached()), subject.case.example())
    assert predicted.peak == measured.peak
    assert (predicted.by_category[Category.OPTIMIZER] > 0) == (optimizer != "sgd")


def test_adapters_train_along_exact_slopes_without_a_prediction() -> None:
    """Tangents of frozen branches take other bytes when watched: it is said, not guessed."""
    subject = Subject("lora", "tiny-bert", {"gradient": "forward", "optimizer": "sgd", "lr": 1e-2})
    with pytest.raises(Incompatible, match="measure it instead"):
        subject.case.predict()
    model = subject.attached()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    subject.trained(model, 2)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert moved <= {n for n, p in model.named_parameters() if p.requires_grad}


def test_an_operator_without_a_forward_derivative_is_named() -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    tangent = Tangent([weight]).by(Noise([1], [1.0]))
    with torch.no_grad(), pytest.raises(Incompatible, match="forward AD"):
        tangent.along(lambda: torch.ops.aten._cdist_forward(weight, weight, 2.0, 1).sum())


def test_weights_read_inside_a_custom_function_are_refused() -> None:
    """Their tangent would be lost in silence and the adapter never train."""
    subject = Subject("loha", "tiny-llama", {"gradient": "forward"})
    with pytest.raises(Incompatible, match="has no forward derivative"):
        subject.trained(subject.attached(), 1)
