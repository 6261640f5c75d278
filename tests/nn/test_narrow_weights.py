"""Frozen weights in bfloat16 and NF4: bytes, outputs, gradients of what is left to train."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.nn.narrow_weights import BFloat16Linear, NF4Linear, to_bfloat16


def _frozen(layer):
    return layer.requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
def test_nf4_is_the_linear_layer_of_its_dense_weight(bias):
    torch.manual_seed(0)
    layer = _frozen(nn.Linear(128, 64, bias=bias))
    exact = layer.weight.clone()
    NF4Linear.adopt(layer)
    assert sum(b.nbytes for b in layer.buffers()) == exact.numel() // 2 + exact.numel() // 64 * 4
    assert (layer.weight - exact).norm() / exact.norm() < 0.12
    x = torch.randn(2, 5, 128, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, nn.functional.linear(x, layer.weight, layer.bias))
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    torch.testing.assert_close(gradient, 2 * y.detach() @ layer.weight, rtol=1e-4, atol=1e-4)
    assert [n for n, _ in layer.named_parameters()] == (["bias"] if bias else [])


def test_nf4_trains_its_bias_on_inputs_of_any_rank():
    layer = nn.Linear(64, 64)
    layer.weight.requires_grad_(False)
    NF4Linear.adopt(layer)
    layer(torch.randn(2, 3, 64)).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((64,), 6.0))


def test_nf4_on_meta_has_the_same_shapes():
    real, shapes = _frozen(nn.Linear(96, 40)), _frozen(nn.Linear(96, 40, device="meta"))
    for layer in (real, shapes):
        NF4Linear.adopt(layer)
    assert {n: (b.shape, b.dtype) for n, b in real.named_buffers()} == {
        n: (b.shape, b.dtype) for n, b in shapes.named_buffers()
    }


@pytest.mark.parametrize("layer", [nn.Linear(32, 16), nn.Conv2d(8, 16, 3, padding=1), nn.Embedding(50, 16)])
def test_frozen_bfloat16_halves_the_weight_and_keeps_the_outer_dtype(layer):
    torch.manual_seed(0)
    given = {
        nn.Linear: torch.randn(4, 32),
        nn.Conv2d: torch.randn(2, 8, 6, 6),
        nn.Embedding: torch.arange(20).view(4, 5),
    }[type(layer)]
    before, size = layer(given).detach(), layer.weight.nbytes
    assert not to_bfloat16(layer), "it still trains"
    layer.weight.requires_grad_(False)
    assert to_bfloat16(layer)
    after = layer(given)
    assert layer.weight.nbytes == size // 2
    assert after.dtype is torch.float32
    assert (after - before).norm() / before.norm() < 0.01


def test_tied_frozen_weights_stay_one():
    table, out = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
    out.weight = table.weight
    table.weight.requires_grad_(False)
    assert to_bfloat16(table) and to_bfloat16(out)
    assert out.weight is table.weight and out.weight.dtype is torch.bfloat16
    assert type(out) is BFloat16Linear
    assert out(table(torch.arange(4))).dtype is torch.float32
