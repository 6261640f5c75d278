"""Frozen weights in int8: bytes, products, gradients, what happens to numbers that are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.nn.int8_kernel import kernel, missing
from workbench.nn.int8_weights import Int8Embedding, Int8Linear, quantized

needs_kernel = pytest.mark.skipif(bool(missing()), reason=missing() or "kernel")


def _layer(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


@needs_kernel
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 8, 3), (5, 17, 33), (300, 64, 48), (129, 384, 96)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_exactly_that_of_the_rounded_numbers(rows, inputs, outputs, bias):
    layer = _layer(inputs, outputs, bias=bias)
    Int8Linear.adopt(layer)
    x = torch.randn(rows, inputs)
    packed, scale = quantized(x)
    whole = packed.double() @ layer.packed.double().t() * scale[:, None] * layer.scale
    expected = whole + (layer.bias if bias else 0)
    torch.testing.assert_close(layer(x).double(), expected.double(), rtol=2e-5, atol=2e-5)


@needs_kernel
def test_it_keeps_a_quarter_of_the_bytes_and_one_percent_of_error():
    layer = _layer(256, 128)
    exact = layer.weight.clone()
    Int8Linear.adopt(layer)
    assert sum(b.nbytes for b in layer.buffers()) == exact.numel() + 128 * 4
    assert (layer.weight - exact).norm() / exact.norm() < 0.01
    x = torch.randn(4, 10, 256)
    expected = nn.functional.linear(x, exact, layer.bias)
    assert (layer(x) - expected).norm() / expected.norm() < 0.015


@needs_kernel
def test_the_gradient_of_the_input_comes_from_the_same_bytes():
    layer = _layer(96, 200)
    Int8Linear.adopt(layer)
    x = torch.randn(3, 50, 96, requires_grad=True)
    toward = torch.randn(3, 50, 200)
    (gradient,) = torch.autograd.grad(layer(x), x, toward)
    exact = toward @ layer.weight
    assert torch.cosine_similarity(gradient.flatten(), exact.flatten(), dim=0) > 0.9998
    assert (gradient - exact).norm() / exact.norm() < 0.015


@needs_kernel
def test_a_trained_bias_gets_its_gradient():
    layer = _layer(64, 32)
    layer.bias.requires_grad_(True)
    Int8Linear.adopt(layer)
    layer(torch.randn(2, 3, 64)).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((32,), 6.0))


@needs_kernel
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_stays_none(bad):
    layer = _layer(64, 32)
    Int8Linear.adopt(layer)
    x = torch.randn(4, 64)
    x[2, 7] = bad
    finite = layer(x).isfinite()
    assert finite[[0, 1, 3]].all() and not finite[2].any()


@needs_kernel
def test_zeros_and_empty_inputs():
    layer = _layer(64, 32)
    Int8Linear.adopt(layer)
    torch.testing.assert_close(layer(torch.zeros(2, 64)), layer.bias.expand(2, 32))
    assert layer(torch.zeros(0, 64)).shape == (0, 32)
    with pytest.raises(RuntimeError, match="takes float32"):
        kernel().linear(torch.zeros(2, 64, dtype=torch.float64), layer.packed, layer.scale, None)


@needs_kernel
def test_its_operations_are_counted_like_those_of_the_float32_product():
    def counted(layer):
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(2, 5, 96, requires_grad=True)).sum().backward()
        return counter.get_total_flops()

    plain, narrow = _layer(96, 40), _layer(96, 40)
    Int8Linear.adopt(narrow)
    assert counted(narrow) == counted(plain) == 2 * (2 * 10 * 96 * 40)


def test_a_table_in_int8_gives_float_rows():
    torch.manual_seed(0)
    table = nn.Embedding(50, 16).requires_grad_(False)
    exact = table.weight.clone()
    Int8Embedding.adopt(table)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert table(ids).dtype is torch.float32
    assert (table(ids) - exact[ids]).abs().max() <= exact.abs().max() / 127
    assert sum(b.nbytes for b in table.buffers()) == 50 * 16 + 50 * 4


def test_on_meta_the_shapes_are_the_same():
    real, shapes = _layer(96, 40), nn.Linear(96, 40, device="meta").requires_grad_(False)
    for layer in (real, shapes):
        Int8Linear.adopt(layer)
    assert {n: (b.shape, b.dtype) for n, b in real.named_buffers()} == {
        n: (b.shape, b.dtype) for n, b in shapes.named_buffers()
    }
