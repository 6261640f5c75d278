"""Nothing in the graph computes what no kept gradient needs: products counted by formula, bytes by formula."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.case import Case
from workbench.core.profile import Tier
from workbench.engine.capture import capture
from workbench.engine.executor import GraphExecutor
from workbench.engine.prune import prune
from workbench.engine.schedule import live_bytes, matrix_products, peak_bytes, saved_bytes, schedule
from workbench.engine.simplify import simplify
from workbench.nn.sliced_linear import SlicedLinear
from workbench.parts.base import TrainingStep

BATCH, LENGTH, BLOCKS, RANK, SLICE = 4, 16, 2, 8, 16


def case_of(method: str, settings: Mapping[str, Any] | None = None) -> Case:
    return Case("tokens", "tiny-bert", method, BATCH, LENGTH, settings={**(settings or {}), "executor": "graph"})


def step_of(method: str, settings: Mapping[str, Any] | None = None) -> TrainingStep:
    case = case_of(method, settings)
    return case.step(case.attached(weights=False))


def sliced() -> TrainingStep:
    """The last blocks with an input slice of both feed-forward layers."""
    case = case_of("last-blocks", {"blocks": BLOCKS})
    model = case.attached(weights=False)
    for block in model.encoder.encoder.layer[-BLOCKS:]:
        block.intermediate.dense = SlicedLinear(block.intermediate.dense, SLICE)
        block.output.dense = SlicedLinear(block.output.dense, SLICE)
    return case.step(model)


def sizes(step: TrainingStep) -> SimpleNamespace:
    """FLOPs of the pieces of one forward pass: 2 per multiplication and addition of a matrix product."""
    config = step.model.config
    d, f, tokens = config.hidden_size, config.intermediate_size, BATCH * LENGTH
    return SimpleNamespace(
        blocks=config.num_hidden_layers,
        square=2 * tokens * d * d,
        wide=2 * tokens * d * f,
        head=2 * BATCH * d * 2,
        attention=2 * (2 * BATCH * LENGTH * LENGTH * d),
        rank=2 * tokens * d * RANK,
        share_in=SLICE / d,
        share_out=SLICE / f,
    )


def expected(kind: str, s: SimpleNamespace) -> tuple[int, float]:
    """Products of matrices in the backward pass, attention's apart, and FLOPs of the whole step."""
    linear = 4 * s.square + 2 * s.wide
    forward = s.blocks * (linear + s.attention) + s.head
    back = 2 * s.attention
    if kind == "full":
        return 2 * (6 * s.blocks + 1), 3 * forward
    if kind == "bias":  # the gradient of every input, of no weight but that of the head, which trains as a whole
        return 6 * s.blocks + 2, forward + s.blocks * (linear + back) + 2 * s.head
    # In the first trained block nothing below the query, key and value is needed.
    inputs = BLOCKS * (linear + back) - 3 * s.square + s.head
    count = 2 * (6 * BLOCKS + 1) - 3
    if kind == "last-blocks":
        return count, forward + inputs + BLOCKS * linear + s.head
    if kind == "slices":
        weights = BLOCKS * (4 * s.square + s.wide * (s.share_in + s.share_out)) + s.head
        return count, forward + inputs + weights
    # LoRA on query and value: two products forward, and backward two weight gradients, the gradient between the
    # two factors, and where something trains below also that of their input.
    adapters = 2 * s.blocks
    lower = forward + adapters * 2 * s.rank
    upward = s.blocks * (linear + back) - 3 * s.square - s.attention // 2 + s.head  # nor is the first key's gradient
    products = (6 * s.blocks - 3) + adapters * 4 - 2
    return products + 2, lower + upward + (adapters * 4 - 2) * s.rank + s.head


STEPS = {
    "full": lambda: step_of("full"),
    "bias": lambda: step_of("bias"),
    "last-blocks": lambda: step_of("last-blocks", {"blocks": BLOCKS}),
    "slices": sliced,
    "lora": lambda: step_of("lora", {"r": RANK}),
}


@pytest.mark.parametrize("kind", STEPS)
def test_products_and_operations_are_those_of_the_formula(kind: str) -> None:
    step, batch = STEPS[kind](), case_of("full").example()
    step(batch)
    (run,) = step.parts.estimator._captured.values()
    products, operations = expected(kind, sizes(step))
    counted = matrix_products(run.plan.joint)
    assert counted["aten.mm.default"] - (4 * sizes(step).blocks if kind == "lora" else 0) == products, counted
    with FlopCounterMode(display=False) as counter:
        step(batch)
    assert counter.get_total_flops() == operations


class Convolutional(nn.Module):
    """A shift that trains below a frozen convolution and a frozen batch norm in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3, 1, 1))
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8).eval()
        for module in (self.conv, self.norm):
            module.requires_grad_(False)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x + self.shift)).clamp(0, 1)


def square(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (model(batch["x"]) * batch["x"].sum()).sum()


def test_frozen_convolutions_and_norms_keep_no_input() -> None:
    """Eager keeps the input of each; the graph keeps what the clamp needs, and computes the same from NaN stand-ins."""
    torch.manual_seed(0)
    model, x = Convolutional(), torch.randn(2, 3, 6, 6)
    kept: dict[int, int] = {}
    held = {t.untyped_storage()._cdata for t in [*model.parameters(), *model.buffers()]}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in held:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = square(model, {"x": x})
    loss.backward()
    plan = schedule(prune(capture(model, square, {"x": x})))
    features = 2 * 8 * 6 * 6 * 4
    assert sum(kept.values()) >= x.nbytes + 2 * features
    assert saved_bytes(plan) <= features + 8
    found: dict[str, Tensor] = {}
    torch.use_deterministic_algorithms(True)  # fills what is allocated empty with NaN
    try:
        GraphExecutor(plan, model)({"x": x}, lambda _, gradient: found.update(shift=gradient.clone()))
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found["shift"], model.shift.grad, rtol=1e-5, atol=1e-5)


def test_updates_at_their_gradients_leave_few_gradients_alive() -> None:
    step, batch = step_of("full"), case_of("full").example()[0]
    joint = prune(capture(step.model, step.loss_of, batch))
    early, late = schedule(joint, early=True), schedule(joint, early=False)
    gradients = [p.nbytes for p in step.parameters]
    assert max(live.gradients for live in live_bytes(late)) == sum(gradients)
    most = max(live.gradients for live in live_bytes(early))
    assert max(gradients) <= most <= max(gradients) + 64 * 4 * 64, (most, max(gradients))
    assert peak_bytes(early) < peak_bytes(late)


def test_bytes_along_the_schedule_are_those_of_the_run() -> None:
    """The plan's peak is what the tracker sees above weights, state and inputs: no run was needed to know it."""
    case = case_of("last-blocks", {"blocks": BLOCKS})
    step = case.step(case.attached(weights=False))
    plan = schedule(simplify(prune(capture(step.model, step.loss_of, case.example()[0]))))
    profile = case.predict(Tier.FAKE)
    standing = sum(profile.by_category[c] for c in profile.by_category if c in ("weights", "optimizer state", "inputs"))
    scalars = 8  # the sum of the losses and the gradient of the loss by itself
    assert profile.peak - standing == peak_bytes(plan) + scalars
