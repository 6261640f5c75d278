"""MeZO's estimate is unbiased with the known variance, returns to the weights, and stores no noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.core.profile import Category, Phase
from workbench.core.seeds import derive
from workbench.parts.base import Parts, TrainingStep
from workbench.parts.estimator.zeroth_order import ZerothOrder, noise, perturb
from workbench.parts.optimizer.sgd import SGD
from workbench.parts.selection.all import All
from workbench.parts.storage.as_loaded import AsLoaded
from workbench.testing import Subject

SIZE = 12
DRAWS = 4000


class Quadratic(nn.Module):
    """``f(w) = w A w / 2 + b w``, in double precision so that the difference quotient is exact."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.w = nn.Parameter(torch.randn(SIZE, generator=generator, dtype=torch.float64))
        root = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
        self.A = root @ root.T / SIZE
        self.b = torch.randn(SIZE, generator=generator, dtype=torch.float64)

    def forward(self) -> Tensor:
        return self.w @ self.A @ self.w / 2 + self.b @ self.w


def _estimates() -> tuple[Tensor, Tensor]:
    """(draws, size) estimates at one point, and the true gradient there."""
    model = Quadratic()
    gradient = (model.A @ model.w + model.b).detach()
    parts = Parts(All(), ZerothOrder(eps=1e-3), SGD(), AsLoaded(), per_parameter=True)
    step = TrainingStep(model, parts, lambda m, _: m(), lr=0.0)
    found: list[Tensor] = []
    step.observer = lambda p: found.append(p.grad.detach().clone())
    for draw in range(DRAWS):
        step({}, seed=draw)
    return torch.stack(found), gradient


def test_the_estimate_is_unbiased_and_has_the_known_second_moment() -> None:
    """E[g] is the gradient and E|g|^2 = (d + 2) |gradient|^2, each within four standard errors."""
    estimates, gradient = _estimates()
    error = estimates.std(0) / math.sqrt(DRAWS)
    assert bool(((estimates.mean(0) - gradient).abs() < 4 * error).all())
    squares = estimates.pow(2).sum(1)
    expected = (SIZE + 2) * float(gradient @ gradient)
    assert abs(float(squares.mean()) - expected) < 4 * float(squares.std()) / math.sqrt(DRAWS)


def test_the_walk_returns_to_the_weights_up_to_rounding() -> None:
    model = Subject("mezo", "tiny-llama").attached()
    parameters = list(model.parameters())
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for scale in (1e-3, -2e-3, 1e-3):
            perturb(parameters, 11, scale)
    worst = max(float((p - b).abs().max()) for p, b in zip(parameters, before, strict=True))
    assert 0 < worst < 1e-6


def test_noise_depends_on_seed_and_place_and_on_nothing_else() -> None:
    parameter = torch.zeros(3, 5)
    torch.manual_seed(0)
    first = noise(parameter, 4, 2)
    torch.manual_seed(1)
    assert torch.equal(first, noise(parameter, 4, 2))
    assert not torch.equal(first, noise(parameter, 4, 3))
    assert not torch.equal(first, noise(parameter, 5, 2))


def test_more_probes_lower_the_variance() -> None:
    model = Quadratic()
    spread = []
    for probes in (1, 16):
        parts = Parts(All(), ZerothOrder(1e-3, probes), SGD(), AsLoaded(), per_parameter=True)
        step = TrainingStep(model, parts, lambda m, _: m(), lr=0.0)
        found: list[Tensor] = []
        step.observer = lambda p, found=found: found.append(p.grad.detach().clone())
        for draw in range(200):
            step({}, seed=derive(draw, "probes"))
        spread.append(float(torch.stack(found).var(0).sum()))
    assert spread[1] < spread[0] / 8


def test_no_noise_is_stored_and_nothing_is_kept_for_backward() -> None:
    """Above the weights there is at most the largest tensor's estimate, its noise and the forward's own."""
    subject = Subject("mezo", "tiny-bert")
    profile = subject.case.predict()
    largest = max(p.numel() * 4 for p in subject.attached().parameters())
    update = profile.by_phase[Phase.UPDATE]
    weights = profile.by_category[Category.WEIGHTS]
    assert profile.saved == 0
    assert Phase.BACKWARD not in profile.by_phase
    assert sum(update.values()) - weights <= 3 * largest
