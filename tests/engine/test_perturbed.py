"""A model run under ``Perturbed`` computes what it would with noise in its weights, which never change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from workbench.devices.record import group_of
from workbench.engine import perturbed
from workbench.engine.noise import Noise, numbered
from workbench.engine.perturbed import Perturbed
from workbench.memory import ledger
from workbench.testing import Subject
from workbench.testing.subject import TINY

NOISE = Noise([17], [0.05])


def outputs(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**{n: t for n, t in batch.items() if n != "labels"}).logits
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_name", TINY)
def test_every_weight_counts_and_none_is_touched(model_name: str, dtype: torch.dtype) -> None:
    subject = Subject("mezo", model_name)
    model = subject.attached().to(dtype).eval()
    batch = {n: t.to(dtype) if t.is_floating_point() else t for n, t in subject.examples()[0].items()}
    weights = [p for p in model.parameters() if p.requires_grad]
    other = copy.deepcopy(model)
    moved = [p for p in other.parameters() if p.requires_grad]
    with torch.no_grad():
        NOISE.add_(moved, numbered(range(len(moved))))
    before = [p.detach().clone() for p in weights]
    with Perturbed(weights).by(NOISE):
        seen = outputs(model, batch)
    assert torch.equal(seen, outputs(other, batch))
    assert not torch.equal(seen, outputs(model, batch))
    assert all(map(torch.equal, before, weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_large_linear_layer_is_computed_in_blocks(bias: bool, dtype: torch.dtype, monkeypatch: Any) -> None:
    """The copy takes its block of memory and no more, and the block is used again."""
    layer = nn.Linear(24, 1001, bias=bias, dtype=dtype)
    weights = list(layer.parameters())
    input = torch.randn(2, 5, 24, dtype=dtype)
    with torch.no_grad():
        copies = NOISE.added_to(weights, numbered(range(len(weights))))
        expected = F.linear(input, *copies)
        monkeypatch.setattr(perturbed, "BLOCK", 100 * 24 * dtype.itemsize)  # a hundred rows
        with Perturbed(weights).by(NOISE):
            layer(input)
            with ledger.counting() as count:
                seen = layer(input)
    torch.testing.assert_close(seen, expected)
    if dtype is torch.float32:  # bf16 products may take workspace
        assert count.peak <= seen.nbytes + (1001 * 4 if bias else 0) + 256


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operator_of_a_large_layer_keeps_torchs_rules_and_counts_its_product(dtype: torch.dtype) -> None:
    input, weight, bias = (torch.randn(*shape, dtype=dtype) for shape in ((2, 5, 8), (11, 8), (11,)))
    terms = torch.tensor([1, 2]), torch.tensor([0.5, 0.1], dtype=torch.float64), "sign"
    operator = torch.ops.pintpot.linear_with_noise
    for vector in (bias, None):
        arguments = input, weight, vector, torch.empty(4 * 8, dtype=dtype), numbered([3]), *terms
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
        with FlopCounterMode(display=False) as counter:
            operator(*arguments)
        assert counter.get_total_flops() == 2 * 2 * 5 * 8 * 11
    assert group_of(operator.default, "forward") == "gemm"


def test_an_embedding_visits_only_the_rows_asked_for() -> None:
    table = nn.Embedding(50_000, 8, padding_idx=0)
    ids = torch.tensor([[0, 7, 49_999, 7]])
    with torch.no_grad(), Perturbed([table.weight]).by(NOISE):
        table(ids)
        with ledger.counting() as count:
            seen = table(ids)
    assert torch.equal(seen, NOISE.added_to([table.weight.detach()], numbered([0]))[0][ids])
    assert count.peak < 4096


def test_weights_reached_in_other_ways_are_perturbed_too() -> None:
    """A view, an attribute, an operator, a list of tensors, a keyword."""
    weight = nn.Parameter(torch.randn(6, 6))
    (copied,) = NOISE.added_to([weight.detach()], numbered([0]))
    ways = (
        lambda w: w.t() @ w,
        lambda w: w.T,
        lambda w: w.data,
        lambda w: 2 * w + 1,
        lambda w: torch.cat([torch.ones(1, 6), w]),
        lambda w: F.linear(input=torch.ones(2, 6), weight=w),
        lambda w: w[1:, 2],
        lambda w: w.norm(),
    )
    with torch.no_grad():
        for way in ways:
            with Perturbed([weight]).by(NOISE):
                seen = way(weight)
            assert torch.equal(seen, way(copied))
