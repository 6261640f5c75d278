"""Quantize and dequantize, packing, straight-through gradients, layers that keep codes, GPTQ: exact properties."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.nn.affine_quantizer import codes, extremes, grid, levels, quantized, quantized_tokens, values
from workbench.nn.gptq import channel_scales, gptq
from workbench.nn.packed_codes import pack, unpack, widths
from workbench.nn.quantized_linear import GAIN, Bits, FakeQuantizedLinear, PackedLinear, packed_bytes


def _weight(rows: int = 7, columns: int = 13) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", range(2, 9))
def test_rounding_is_idempotent_within_half_a_step_and_keeps_zero(bits):
    x = _weight()
    x[:, 3] = 0
    x[5] = 0
    scale, zero = grid(*extremes(x), bits)
    there = quantized(x, scale, zero, bits)
    assert bool(((there - x).abs() <= 0.5001 * scale[:, None] + 1e-7).all())
    assert torch.equal(quantized(there, scale, zero, bits), there)
    assert bool((there[x == 0] == 0).all())
    found = codes(x, scale, zero, bits)
    assert found.min() >= 0 and found.max() <= levels(bits)
    assert torch.equal(found, found.round())


def test_rows_of_one_sign_keep_zero_on_the_grid():
    scale, zero = grid(*extremes(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])), 4)
    assert zero.tolist() == [0, 15]
    torch.testing.assert_close(scale, torch.full((2,), 2 / 15))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("columns", [8, 13, 1])
def test_packing_gives_every_code_back(bits, columns):
    given = torch.randint(0, 2**bits, (5, columns), dtype=torch.uint8, generator=torch.Generator().manual_seed(bits))
    planes = pack(given, bits)
    assert torch.equal(unpack(planes, bits, columns), given)
    assert sum(widths(bits)) == bits
    if columns == 8:
        assert sum(p.nbytes for p in planes) == 5 * bits


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_packed_layer_keeps_bytes_and_no_float_copy_and_computes_the_same(bits):
    torch.manual_seed(0)
    master, frozen = nn.Linear(64, 48), nn.Linear(64, 48)
    frozen.load_state_dict(master.state_dict())
    frozen.requires_grad_(False)
    FakeQuantizedLinear.adopt(master, Bits(bits, 8, "moving"))
    PackedLinear.adopt(frozen, Bits(bits, 8))
    x = torch.randn(5, 64)
    with torch.no_grad():
        torch.testing.assert_close(frozen(x), master(x))
    assert torch.equal(frozen.codes(), master.codes())
    kept = {n: t for n, t in [*frozen.named_buffers(), *frozen.named_parameters()] if n != "bias"}
    assert sum(t.untyped_storage().nbytes() for t in kept.values()) == packed_bytes(48, 64, bits)
    assert packed_bytes(48, 64, bits) == 48 * (64 * bits // 8 + 8)
    assert all(t.numel() < 48 * 64 or t.dtype is torch.uint8 for t in kept.values())


@pytest.mark.parametrize("at", [0.1, 0.15, 0.25, 0.3, 0.45, 0.9])
def test_the_gradient_of_a_scale_is_that_of_many_crossed_steps(at):
    """Finite differences over a change in which codes flip, on normal numbers, against the straight-through rule."""
    x = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)[None]
    zero = torch.tensor([8.0], dtype=torch.float64)

    def loss(scale: torch.Tensor) -> torch.Tensor:
        return (quantized(x, scale, zero, 4) ** 2).mean()

    scale = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    loss(scale).backward()
    here, width = scale.detach(), 0.02 * at
    flipped = (codes(x, here + width, zero, 4) != codes(x, here - width, zero, 4)).double().mean()
    assert flipped > 0.01
    slope = float(loss(here + width) - loss(here - width)) / (2 * width)
    assert float(scale.grad) == pytest.approx(slope, rel=0.03)


def test_outside_of_the_clip_gradients_are_exact_and_inside_pass():
    x = torch.tensor([[-9.0, 0.2, 9.0]], dtype=torch.float64, requires_grad=True)
    low = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    high = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    quantized(x, *grid(low, high, 2), 2).sum().backward()
    assert x.grad.tolist() == [[0, 1, 0]]
    # Range 3 on three steps of 1: codes 0..3 stand for -1..2. The lower bound moves with low, the upper with high,
    # both through the rounded zero point's straight-through derivative; 0.2 is rounded to 0.
    assert float(low.grad) == pytest.approx(1 + 0.2 / 3)
    assert float(high.grad) == pytest.approx(1 - 0.2 / 3)


def test_tokens_have_their_own_range_and_pass_gradients_on():
    x = torch.tensor([[1.0, 2.0, 3.0], [100.0, 200.0, 300.0]], requires_grad=True)
    y = quantized_tokens(x, 8)
    torch.testing.assert_close(y, x, rtol=0.01, atol=0)
    y.sum().backward()
    assert bool((x.grad == 1).all())


def test_the_transform_alone_changes_no_output_and_sixteen_bits_change_little():
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 16), torch.randn(9, 32)
    expected = layer(x)
    scales = channel_scales(x.abs().amax(0), layer.weight.detach(), 0.75)
    torch.testing.assert_close(nn.functional.linear(x / scales, layer.weight * scales, layer.bias), expected)
    FakeQuantizedLinear.adopt(layer, Bits(16, 16, "moving", transform=True))
    layer.smooth.copy_(scales)
    torch.testing.assert_close(layer(x), expected, rtol=1e-3, atol=1e-3)


def test_a_clip_moves_the_range_and_learns_by_gradient():
    torch.manual_seed(0)
    layer = nn.Linear(32, 4)
    FakeQuantizedLinear.adopt(layer, Bits(4, 16))
    _, scale, _ = layer.placed(None)
    low, high = extremes(layer.weight.detach())
    torch.testing.assert_close(scale * 15, (high - low) * torch.sigmoid(torch.tensor(3.0)))
    layer(torch.randn(8, 32)).square().sum().backward()
    assert float(layer.clip_low.grad.abs().sum()) > 0
    with torch.no_grad():
        layer.clip_high.fill_(-3 / GAIN)
    assert torch.all(layer.placed(None)[1] < scale)


def test_gptq_with_independent_inputs_is_plain_rounding_and_with_related_ones_better():
    weight = _weight(24, 32)
    scale, zero = grid(*extremes(weight), 3)
    plain = values(codes(weight, scale, zero, 3), scale, zero)
    torch.testing.assert_close(gptq(weight, torch.eye(32), scale, zero, 3), plain)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(500, 32, generator=generator) @ torch.randn(32, 32, generator=generator)
    better = gptq(weight, x.t() @ x, scale, zero, 3)
    torch.testing.assert_close(quantized(better, scale, zero, 3), better)
    assert (x @ (better - weight).t()).norm() < 0.8 * (x @ (plain - weight).t()).norm()


@pytest.mark.parametrize("block", [1, 8, 13])
def test_gptq_in_blocks_is_gptq_column_by_column(block, monkeypatch):
    weight, generator = _weight(8, 32), torch.Generator().manual_seed(1)
    x = torch.randn(200, 32, generator=generator) @ torch.randn(32, 32, generator=generator)
    scale, zero = grid(*extremes(weight), 4)
    whole = gptq(weight, x.t() @ x, scale, zero, 4)
    monkeypatch.setattr("workbench.nn.gptq.BLOCK", block)
    torch.testing.assert_close(gptq(weight, x.t() @ x, scale, zero, 4), whole)
