"""One-bit activations and dropout give torch's results and gradients to the bit, and keep a 32nd of the bytes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.nn.bit_masks import BitDropout, BitReLU6, adopt, pack_bits, unpack_bits

SHAPES = [(7,), (8,), (3, 5, 11), (2, 3, 6, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_packing_is_lossless_in_any_layout(shape, channels_last):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.3
    if channels_last and len(shape) == 4:
        mask = mask.to(memory_format=torch.channels_last)
    bits = pack_bits(mask)
    assert bits.packed.numel() == -(-mask.numel() // 8)
    assert torch.equal(unpack_bits(bits), mask)
    assert unpack_bits(bits).stride() == mask.stride()


@pytest.mark.parametrize("make", [nn.ReLU, nn.ReLU6, lambda: nn.Dropout(0.3)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_torch_to_the_bit(make, shape, transposed):
    x = 4 * torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 2
    x.view(-1)[:3] = torch.tensor([0.0, 6.0, -1.0])
    if transposed:
        x = x.movedim(0, -1)
    results = []
    for packed in (False, True):
        module = make()
        if packed:
            assert adopt(module)
        leaf = x.clone().requires_grad_()
        torch.manual_seed(5)
        y = module(leaf)
        (y * torch.arange(y.numel()).view(y.shape)).sum().backward()
        results.append((y.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_evaluation_is_torchs():
    x = torch.randn(9)
    dropout = nn.Dropout(0.5).eval()
    adopt(dropout)
    assert dropout(x) is x


def test_nothing_of_full_width_is_saved():
    saved = []
    x = torch.randn(64, 64, requires_grad=True)
    layer = nn.Sequential(nn.ReLU6(), nn.Dropout(0.5))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.nbytes) or t, lambda t: t):
        layer(x)
    assert sum(saved) >= 2 * x.nbytes
    saved.clear()
    assert sum(adopt(m) for m in layer) == 2
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.nbytes) or t, lambda t: t):
        y = layer(x)
    assert y.requires_grad
    assert saved == [x.numel() // 8] * 2


def test_what_would_gain_nothing_is_left_alone():
    for module in (nn.ReLU(inplace=True), nn.Dropout(0.0), nn.GELU()):
        kind = type(module)
        assert not adopt(module)
        assert type(module) is kind
    assert issubclass(BitReLU6, nn.ReLU6) and issubclass(BitDropout, nn.Dropout)
