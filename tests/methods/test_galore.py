"""GaLore is its inner rule where projection loses nothing, and keeps the state that its formula says."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from workbench.core.errors import BadInput
from workbench.core.profile import Category
from workbench.memory.guard import guard
from workbench.memory.measure import measure
from workbench.nn.subspace_optimizer import OPENING, SubspaceOptimizer
from workbench.parts.optimizer import named
from workbench.parts.optimizer.galore import GaLore
from workbench.testing import Subject

RANK = 4


def weights_after(method: str, model: str, settings: dict[str, Any], steps: int = 3) -> list[torch.Tensor]:
    subject = Subject(method, model, settings)
    attached = subject.attached()
    subject.trained(attached, steps)
    return [p.detach() for p in attached.parameters()]


@pytest.mark.parametrize("inner", ["adamw", "momentum"])
def test_with_a_rank_that_no_matrix_exceeds_it_is_the_inner_rule_bit_for_bit(inner: str) -> None:
    ours = weights_after("galore", "tiny-bert", {"rank": 4096, "optimizer": inner, "lr": 1e-3})
    full = weights_after("full", "tiny-bert", {"optimizer": inner, "lr": 1e-3})
    assert all(torch.equal(a, b) for a, b in zip(ours, full, strict=True))


def test_a_library_that_the_inner_rule_brings_is_no_part_of_the_step() -> None:
    """The first step in a process used to be predicted with the tables that bitsandbytes makes when it is imported."""
    code = (
        "from workbench.case import Case; from workbench.memory.measure import measure;"
        "case = Case('tokens', 'tiny-bert', 'galore', 1, 8, settings={'optimizer': 'adamw8bit'});"
        "predicted = case.predict(fresh=True);"
        "print(predicted.peak - measure(case.step(case.attached(weights=False)), case.example()).peak)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "0"


@pytest.mark.parametrize("refresh", ["iteration", "svd"])
@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 3, 3, 3)])
def test_where_the_gradient_fits_the_subspace_it_is_plain_sgd(shape: tuple[int, ...], refresh: Any) -> None:
    """A gradient of rank three in a subspace of four loses nothing, whatever the shape."""
    generator = torch.Generator().manual_seed(0)
    sides = shape[0], torch.Size(shape[1:]).numel()
    start = torch.randn(shape, generator=generator)
    ours, plain = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        GaLore(RANK, interval=2, scale=1.0, inner="sgd", refresh=refresh).build([ours], 0.1),
        named("sgd").build([plain], 0.1),
    ]
    for _ in range(6):
        low = torch.randn(sides[0], 3, generator=generator) @ torch.randn(3, sides[1], generator=generator)
        ours.grad = low.view(shape).clone()
        plain.grad = low.view(shape).clone()
        if refresh == "iteration":  # one iteration turns the basis half-way only; a new gradient wants a new start
            optimizers[0].state.clear()
        else:
            optimizers[0].interval = 1  # type: ignore[attr-defined]
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours.detach(), plain.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(50, 20), (20, 50)])
def test_state_is_two_moments_on_the_longer_side_and_a_basis_of_the_shorter(rows: int, columns: int) -> None:
    parameter = nn.Parameter(torch.randn(rows, columns))
    optimizer = GaLore(RANK).build([parameter], 1e-3)
    parameter.grad = torch.randn(rows, columns)
    optimizer.step()
    state = optimizer.state[parameter]
    assert state["basis"].shape == (20, RANK)
    assert {n: tuple(t.shape) for n, t in state["inner"].items()} == {
        "step": (), "exp_avg": (50, RANK), "exp_avg_sq": (50, RANK),
    }  # fmt: skip


def test_small_tensors_are_left_to_the_inner_rule() -> None:
    vector, small, depthwise = (nn.Parameter(torch.randn(s)) for s in ((64,), (RANK, 64), (64, 1, 2, 2)))
    optimizer = GaLore(RANK).build([vector, small, depthwise], 1e-3)
    for parameter in (vector, small, depthwise):
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in (vector, small, depthwise))


def test_moments_outlive_a_refresh_and_the_basis_does_not() -> None:
    parameter = nn.Parameter(torch.randn(30, 20))
    optimizer = GaLore(RANK, interval=5).build([parameter], 1e-3)
    bases, counts = [], []
    for _ in range(7):
        parameter.grad = torch.randn(30, 20)
        optimizer.step()
        bases.append(optimizer.state[parameter]["basis"])
        counts.append(int(optimizer.state[parameter]["inner"]["step"]))
    same = [torch.equal(a, b) for a, b in pairwise(bases)]
    assert same == [False] * (OPENING - 1) + [True, True, False, True]
    assert counts == list(range(1, 8))


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-cnn"])
def test_updates_inside_backward_give_the_same_weights(model: str) -> None:
    """Tied weights included: tiny-llama's output layer is its embedding."""
    settings = {"rank": RANK, "interval": 2, "lr": 1e-3}
    after = weights_after("galore", model, settings, 5)
    inside = weights_after("galore", model, {**settings, "update_in_backward": True}, 5)
    assert all(torch.equal(a, b) for a, b in zip(after, inside, strict=True))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("tiny-bert", {"rank": RANK}),
        ("tiny-cnn", {"rank": RANK, "channels_last": True}),
        ("tiny-llama", {"rank": RANK, "weights": "bf16", "update_in_backward": True}),
        ("tiny-bert", {"rank": RANK, "refresh": "svd"}),
    ],
)
def test_predicted_bytes_are_measured_bytes(model: str, settings: dict[str, Any]) -> None:
    case = Subject("galore", model, settings).case
    predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
    assert predicted.peak == measured.peak
    assert predicted.by_category[Category.OPTIMIZER] == measured.by_category[Category.OPTIMIZER]


def test_no_later_step_needs_more_than_the_one_that_is_predicted() -> None:
    """The refresh is in the predicted step. With updates in backward and little else, it is what stands highest."""
    case = Subject("galore", "tiny-bert", {"rank": RANK, "interval": 4, "update_in_backward": True}).case
    step, batch = case.step(case.attached()), case.example()
    peaks = []
    for _ in range(6):
        with guard(2**40, step, batch) as guarded:
            step(batch)
        peaks.append(guarded.peak)
    assert max(peaks) <= case.predict().peak


def test_bf16_weights_train_in_a_bf16_basis() -> None:
    subject = Subject("galore", "tiny-llama", {"rank": RANK, "weights": "bf16"})
    step, losses = subject.trained(subject.attached(), 10)
    bases = [s["basis"] for o in step.optimizers for s in o.state.values() if "basis" in s]
    assert losses[-1] < losses[0]
    assert {b.dtype for b in bases} == {torch.bfloat16}
    for basis in bases:
        torch.testing.assert_close(basis.float().T @ basis.float(), torch.eye(RANK), rtol=0, atol=2e-2)


@pytest.mark.parametrize("method", ["last-blocks", "lora", "bias", "update-in-backward"])
def test_any_selection_may_use_it(method: str) -> None:
    lean, plain = (Subject(method, "tiny-bert", {"optimizer": o}).case for o in ("galore", "adamw"))
    sizes = [c.predict().by_category.get(Category.OPTIMIZER, 0) for c in (lean, plain)]
    assert sizes[0] < sizes[1] if method in ("last-blocks", "update-in-backward") else sizes[0] <= sizes[1]
    assert lean.predict().peak == measure(lean.step(lean.attached()), lean.example()).peak


def test_the_rule_inside_is_no_projection_again() -> None:
    with pytest.raises(BadInput, match=r"galore\.optimizer"):
        Subject("galore", "tiny-bert", {"optimizer": "galore"}).case  # noqa: B018


def test_it_is_a_torch_optimizer_with_one_rate() -> None:
    optimizer = GaLore().build([nn.Parameter(torch.randn(40, 30))], 1e-3)
    assert isinstance(optimizer, SubspaceOptimizer)
    assert [g["lr"] for g in optimizer.param_groups] == [1e-3]
