"""MeZO's estimate is unbiased with the known variance, leaves the weights exact, and stores no noise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workbench.core.profile import Category, Phase
from workbench.core.seeds import derive
from workbench.engine.noise import Noise, numbered
from workbench.parts.base import Parts, TrainingStep
from workbench.parts.estimator.zeroth_order import ZerothOrder
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


def _estimates(kind: str) -> tuple[Tensor, Tensor]:
    """(draws, size) estimates at one point, and the true gradient there."""
    model = Quadratic()
    gradient = (model.A @ model.w + model.b).detach()
    parts = Parts(All(), ZerothOrder(eps=1e-3, noise=kind), SGD(), AsLoaded(), per_parameter=True)
    step = TrainingStep(model, parts, lambda m, _: m(), lr=0.0)
    found: list[Tensor] = []
    step.observer = lambda p: found.append(p.grad.detach().clone())
    for draw in range(DRAWS):
        step({}, seed=draw)
    return torch.stack(found), gradient


@pytest.mark.parametrize("kind", ["gaussian", "sign"])
def test_the_estimate_is_unbiased_and_has_the_known_second_moment(kind: str) -> None:
    """E[g] is the gradient and E|g|^2 is (d + 2) |gradient|^2, d for signs, each within four standard errors."""
    estimates, gradient = _estimates(kind)
    error = estimates.std(0) / math.sqrt(DRAWS)
    assert bool(((estimates.mean(0) - gradient).abs() < 4 * error).all())
    squares = estimates.pow(2).sum(1)
    expected = (SIZE + 2 if kind == "gaussian" else SIZE) * float(gradient @ gradient)
    assert abs(float(squares.mean()) - expected) < 4 * float(squares.std()) / math.sqrt(DRAWS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_hundred_probes_leave_every_bit_where_the_walk_in_place_drifts(dtype: torch.dtype) -> None:
    subject = Subject("mezo", "tiny-llama")
    model = subject.attached().to(dtype)
    step = subject.case.step(model)
    step.set_lr(0.0)
    parameters = step.parameters
    before = [p.detach().clone() for p in parameters]
    places = numbered(range(len(parameters)))
    for seed in range(100):
        step(subject.examples(), seed=seed)
    assert all(map(torch.equal, before, parameters))
    with torch.no_grad():
        for seed in range(100):
            for scale in (1e-3, -2e-3, 1e-3):
                Noise([seed], [scale]).add_(parameters, places)
    drift = max(float((p - b).norm() / b.norm()) for p, b in zip(parameters, before, strict=True))
    assert (1e-8 < drift < 1e-5) if dtype is torch.float32 else drift > 1e-3


def test_an_observer_changes_no_bit_of_the_update() -> None:
    subject = Subject("mezo", "tiny-bert")
    seen: list[Tensor] = []
    found = []
    for observer in (None, lambda p: seen.append(p.grad.detach().clone())):
        model = subject.attached()
        step = subject.case.step(model)
        step.observer = observer
        step(subject.examples(), seed=3)
        found.append([p.detach().clone() for p in step.parameters])
        assert all(p.grad is None for p in step.parameters)
    assert all(map(torch.equal, *found))
    assert len(seen) == len(found[0])


def test_two_seeds_share_a_pass_and_the_update_of_sgd_holds_no_estimate() -> None:
    """The fused update is the rule applied to the estimate, up to the rounding that it saves."""
    subject = Subject("mezo", "tiny-bert", {"probes": 2})

    class Separately(SGD):
        adds = False

    found = []
    for rule in (SGD(), Separately()):
        model = subject.attached()
        parts: Any = model.pintpot_parts
        model.pintpot_parts = Parts(parts.selection, parts.estimator, rule, parts.storage, per_parameter=True)
        step = subject.case.step(model)
        step(subject.examples(), seed=3)
        found.append([p.detach() for p in step.parameters])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-7)


def test_more_probes_lower_the_variance() -> None:
    model = Quadratic()
    spread = []
    for probes in (1, 16):
        parts = Parts(All(), ZerothOrder(probes), SGD(), AsLoaded(), per_parameter=True)
        step = TrainingStep(model, parts, lambda m, _: m(), lr=0.0)
        found: list[Tensor] = []
        step.observer = lambda p, found=found: found.append(p.grad.detach().clone())
        for draw in range(200):
            step({}, seed=derive(draw, "probes"))
        spread.append(float(torch.stack(found).var(0).sum()))
    assert spread[1] < spread[0] / 8


def test_no_noise_is_stored_and_nothing_is_kept_for_backward() -> None:
    """In the update there is nothing above the weights but the step's few numbers; with Adam, one tensor's estimate."""
    subject = Subject("mezo", "tiny-bert")
    profile = subject.case.predict()
    weights = profile.by_category[Category.WEIGHTS]
    assert profile.saved == 0
    assert Phase.BACKWARD not in profile.by_phase
    inputs = profile.by_category.get(Category.INPUTS, 0)
    numbers = 16 * len(list(subject.attached().parameters())) + 1024
    assert sum(profile.by_phase[Phase.UPDATE].values()) <= weights + inputs + numbers
    adam = Subject("mezo", "tiny-bert", {"optimizer": "adamw"}).case.predict()
    largest = max(p.numel() * 4 for p in subject.attached().parameters())
    state = adam.by_category[Category.OPTIMIZER]
    assert sum(adam.by_phase[Phase.UPDATE].values()) <= weights + state + inputs + largest + numbers


def test_memory_is_that_of_inference_and_one_layers_copy() -> None:
    """Against a forward under no_grad, measured: the largest linear layer, all vectors, the step's few numbers more."""
    from workbench.memory import ledger

    if not ledger.available():
        pytest.skip("no ledger")
    subject = Subject("mezo", "tiny-bert")
    model = subject.attached().eval()
    step, (batch, *_) = subject.case.step(model), subject.examples()
    peaks = []
    for run in (lambda: subject.case.task.loss(model, batch), lambda: step(batch)):
        with torch.no_grad():
            run()
            with ledger.counting() as count:
                run()
        peaks.append(count.peak)
    largest = max(m.weight.nbytes + m.bias.nbytes for m in model.modules() if isinstance(m, nn.Linear))
    vectors = sum(64 * -(-p.nbytes // 64) for p in model.parameters() if p.ndim < 2)  # as the allocator rounds
    assert peaks[1] <= peaks[0] + largest + vectors + 2048
