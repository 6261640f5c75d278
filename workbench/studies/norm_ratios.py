"""How large each weight is beside its gradient, in float, in integers, and in integers with scaled gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from workbench.bench import Bench

#: The paper's three curves as settings of ``int8-training``.
CURVES: Mapping[str, Mapping[str, Any]] = {
    "float": {"graph": "float"},
    "int8": {"graph": "int8", "qas": False},
    "int8 with QAS": {"graph": "int8", "qas": True},
}


@dataclass(frozen=True)
class NormRatios:
    """|W| / |dL/dW| by layer, in forward order, of one curve; measured on one real batch."""

    label: str
    layers: tuple[str, ...]
    ratios: tuple[float, ...]


def norm_ratios(bench: Bench, *, warm: int = 20, seed: int = 0) -> list[NormRatios]:
    """The three curves on the same batch, after ``warm`` steps of the head in each."""
    return [_curve(bench, label, dict(settings), warm, seed) for label, settings in CURVES.items()]


def _curve(bench: Bench, label: str, settings: dict[str, Any], warm: int, seed: int) -> NormRatios:
    import torch

    from workbench.session import Session

    whole = bench.case("int8-training", **settings, biases=500, update="all", lr=1e-6)
    session = Session(whole, seed, None, bench.schedule, bench.sizes)
    session.prepare()
    model: Any = session.model
    owners = {id(weight): name for name, conv in model.convolutions for weight in (_trained(conv),)}
    found: dict[str, float] = {}

    def observe(parameter: nn.Parameter) -> None:
        if id(parameter) in owners and parameter.grad is not None:
            norm = torch.linalg.vector_norm(parameter.grad).clamp(min=1e-30)
            found[owners[id(parameter)]] = float(torch.linalg.vector_norm(parameter.detach()) / norm)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stream = whole.task.batches(session.data, whole.spec, whole.batch, seed)
        _warm_head(model, whole.task.loss, stream, warm)
        session.training.observer = observe
        session.training([next(stream)])
    names = tuple(name for name, _ in model.convolutions)
    return NormRatios(label, names, tuple(found[name] for name in names))


def _trained(conv: Any) -> nn.Parameter:
    """What the update rule holds for the weight: itself, or its handle in an integer graph."""
    handle: nn.Parameter = getattr(conv, "weight_handle", conv.weight)
    return handle


def _warm_head(model: Any, loss_of: Any, stream: Any, steps: int) -> None:
    import torch

    fresh = list(model.classifier.parameters())
    optimizer = torch.optim.AdamW(fresh, lr=1e-2)
    for _ in range(steps):
        gradients = torch.autograd.grad(loss_of(model, next(stream)), fresh)
        for parameter, gradient in zip(fresh, gradients):
            parameter.grad = gradient
        optimizer.step()
    model.zero_grad(set_to_none=True)
