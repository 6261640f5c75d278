"""Lean functions: the same gradients as torch where they claim it, and only the bytes they claim are kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from workbench.core.errors import BadInput
from workbench.nn.lean_frozen import freeze_convolution, freeze_norm, hardswish_with_bits
from workbench.nn.lean_static import byte_linear, packed_attention, packed_gelu, pruned_layer_norm
from workbench.nn.lean_transformer import attend


def draw(*shape, dtype=torch.float64, seed=0):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return made.requires_grad_()


def kept_bytes(run, *own):
    """Bytes of saved storages, each once, without those of ``own``."""
    known = {tensor.untyped_storage().data_ptr() for tensor in own}
    seen = {}

    def note(tensor):
        if tensor.untyped_storage().data_ptr() not in known:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    assert result.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("groups", [1, 4])
def test_frozen_convolution_is_exact_and_keeps_no_map(groups):
    module = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups).double()
    module.weight.requires_grad_(False)
    x = draw(2, 4, 7, 7)
    assert kept_bytes(lambda: module(x), module.weight) == x.nbytes  # stock keeps it all the same
    wanted = torch.autograd.grad(module(x).square().sum(), (x, module.bias))
    freeze_convolution(module)
    assert kept_bytes(lambda: module(x), module.weight) == 0
    for found, right in zip(torch.autograd.grad(module(x).square().sum(), (x, module.bias)), wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(module, (x,))
    torch.testing.assert_close(module(x[1]), module(x)[1])  # a map by itself, as torch's takes it
    assert torch.autograd.gradcheck(module, (x[1].detach().requires_grad_(),))
    module.weight.requires_grad_(True)
    with pytest.raises(BadInput):
        module(x)


def test_shift_only_norm_equals_a_frozen_norm_and_keeps_nothing():
    source = nn.BatchNorm2d(5).double()
    source(draw(4, 5, 3, 3, seed=3) * 2 + 1)
    with torch.no_grad():
        source.weight.uniform_(0.5, 2)
        source.bias.uniform_(-1, 1)
    source.eval().weight.requires_grad_(False)
    names = list(source.state_dict())
    stock, lean = (freeze_norm(copy.deepcopy(source).train(), lean=lean) for lean in (False, True))
    x = draw(2, 5, 6, 6)
    before = lean.running_mean.clone()
    wanted = torch.autograd.grad(source(x).square().sum(), (x, source.bias))
    for frozen in (stock, lean):
        torch.testing.assert_close(frozen(x), source(x), rtol=1e-12, atol=1e-12)
        found = torch.autograd.grad(frozen(x).square().sum(), (x, frozen.bias))
        for ours, right in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, right, rtol=1e-12, atol=1e-12)
        assert list(frozen.state_dict()) == names and not frozen.weight.requires_grad
    assert torch.equal(lean.running_mean, before)
    assert torch.autograd.gradcheck(lean, (x,))
    assert kept_bytes(lambda: lean(x), lean.scale) == 0
    assert kept_bytes(lambda: stock(x), stock.weight, stock.running_mean, stock.running_var) >= x.nbytes
    for refused in (nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, track_running_stats=False)):
        with pytest.raises(BadInput):
            freeze_norm(refused)


@pytest.mark.parametrize(("assign", "device"), [(False, "cpu"), (True, "cpu"), (True, "meta")])
def test_shift_only_norm_follows_the_statistics_that_are_loaded(assign, device):
    other = nn.BatchNorm2d(5).double()
    other(draw(4, 5, 3, 3, seed=3) * 3 + 1)
    with torch.no_grad():
        other.weight.uniform_(0.5, 2)
    with torch.device(device):
        lean = nn.Sequential(freeze_norm(nn.BatchNorm2d(5).double()))  # inside another module, as in a net
    held = lean[0].scale
    lean.load_state_dict({f"0.{name}": tensor for name, tensor in other.state_dict().items()}, assign=assign)
    x = draw(2, 5, 6, 6)
    torch.testing.assert_close(lean(x), other.eval()(x), rtol=1e-12, atol=1e-12)
    assert device == "meta" or lean[0].scale is held


def test_gated_hardswish_keeps_a_bit_and_points_the_right_way():
    x = draw(64, 33, dtype=torch.float32)
    x = (x.detach() * 1.5).requires_grad_()
    assert torch.equal(hardswish_with_bits(x), nn.functional.hardswish(x))
    assert kept_bytes(lambda: hardswish_with_bits(x)) == -(-x.numel() // 8)
    outer = torch.randn(64, 33, generator=torch.Generator().manual_seed(4))
    exact = torch.autograd.grad(nn.functional.hardswish(x), x, outer)[0].flatten()
    assert torch.cosine_similarity(torch.autograd.grad(hardswish_with_bits(x), x, outer)[0].flatten(), exact, 0) > 0.85


def test_packed_gelu_keeps_half_a_byte_with_the_known_error():
    x = draw(100, 101, dtype=torch.float32)
    assert torch.equal(packed_gelu(x), nn.functional.gelu(x))
    assert kept_bytes(lambda: packed_gelu(x)) == -(-x.numel() // 2)
    outer = torch.ones_like(x)
    exact = torch.autograd.grad(nn.functional.gelu(x), x, outer)[0]
    found = torch.autograd.grad(packed_gelu(x), x, outer)[0]
    assert 0.08 < (found - exact).norm() / exact.norm() < 0.14
    on_grid = (torch.arange(-8, 8, dtype=torch.float64) / 2).requires_grad_()
    assert torch.autograd.gradcheck(packed_gelu, (on_grid,), eps=1e-6)


def on_grid(*shape, seed):
    """Sixteenths, which the byte formats hold exactly."""
    return (draw(*shape, seed=seed).detach() * 16).round().div(16).requires_grad_()


def attention(query, key, value, mask, scale):
    return nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)


@pytest.mark.parametrize("kind", ["none", "truths", "numbers"])
def test_packed_attention_is_exact_forward_and_keeps_a_byte_for_each_number(kind):
    inputs = [on_grid(2, 3, 9, 4, seed=s) for s in range(3)]
    truths = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    truths[1, ..., 5:] = False
    mask = {"none": None, "truths": truths, "numbers": draw(2, 1, 9, 9, seed=9).detach()}[kind]
    torch.testing.assert_close(packed_attention(*inputs, mask, 0.5), attention(*inputs, mask, 0.5), rtol=1e-12, atol=0)
    own = [] if mask is None else [mask]
    assert kept_bytes(lambda: packed_attention(*inputs, mask, 0.5), *own) == 3 * inputs[0].numel() + 2 * 3 * 9 * 9
    outer = draw(2, 3, 9, 4, seed=4).detach()
    exact = torch.autograd.grad(attention(*inputs, mask, 0.5), inputs, outer)
    found = torch.autograd.grad(packed_attention(*inputs, mask, 0.5), inputs, outer)
    for ours, right in zip(found, exact, strict=True):  # the rest is the softmax in 255 steps
        assert 0 < (ours - right).norm() / right.norm() < 0.02
    with pytest.raises(BadInput):
        packed_attention(inputs[0], inputs[1][:, :1], inputs[2], None, 1.0)


@pytest.mark.parametrize("kind", ["truths", "numbers"])
def test_a_row_that_may_look_at_nothing_gives_nothing(kind):
    inputs = [on_grid(2, 3, 4, 4, seed=s) for s in range(3)]
    mask = torch.ones(4, 4, dtype=torch.bool).tril(-1)  # the first row is hidden whole
    mask = mask if kind == "truths" else torch.zeros(4, 4, dtype=torch.float64).masked_fill(~mask, float("-inf"))
    found = packed_attention(*inputs, mask, 0.5)
    torch.testing.assert_close(found, attention(*inputs, mask, 0.5), rtol=1e-12, atol=1e-14)
    assert not found[..., 0, :].any()
    gradients = torch.autograd.grad(found.square().sum(), inputs)
    assert all(g.isfinite().all() for g in gradients) and not gradients[0][..., 0, :].any()


@pytest.mark.parametrize("shape", [(4, 4), (1, 3, 4, 4), (2, 3, 4, 4)])
def test_a_mask_of_numbers_may_train(shape):
    """A bias by position, say: its gradient is summed over what it was broadcast to."""
    inputs, mask = [on_grid(2, 3, 4, 4, seed=s) for s in range(3)], draw(*shape, seed=7)
    outer = draw(2, 3, 4, 4, seed=4).detach()
    exact = torch.autograd.grad(attention(*inputs, mask, 0.5), [mask, *inputs], outer)
    found = torch.autograd.grad(packed_attention(*inputs, mask, 0.5), [mask, *inputs], outer)
    for ours, right in zip(found, exact, strict=True):
        assert ours.shape == right.shape and (ours - right).norm() / right.norm() < 0.02


def test_heads_in_groups_share_their_keys_and_values():
    query, key, value = (on_grid(2, heads, 5, 4, seed=s) for s, heads in ((0, 6), (1, 2), (2, 2)))
    found, _ = attend(nn.Module(), query, key, value, None, is_causal=True)
    exact = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(found.transpose(1, 2), exact, rtol=1e-12, atol=1e-14)
    ours, right = (torch.autograd.grad(o.square().sum(), (key, value)) for o in (found, exact))
    assert all(a.shape == b.shape and (a - b).norm() / b.norm() < 0.02 for a, b in zip(ours, right, strict=True))


def test_packed_attention_is_exact_where_its_formats_are():
    """Two equal keys or a single one: shares of 1 and 0 are exact in a byte."""
    query, key, value = (on_grid(1, 2, n, 4, seed=s) for s, n in ((0, 5), (1, 1), (2, 1)))
    assert torch.autograd.gradcheck(lambda *a: packed_attention(*a, None, 0.7), (query, key, value))


def test_byte_linear_keeps_a_byte_and_is_exact_on_its_grid():
    x, weight, bias = on_grid(3, 5, 8, seed=0), draw(4, 8, seed=1), draw(4, seed=2)
    assert torch.equal(byte_linear(x, weight, bias), nn.functional.linear(x, weight, bias))
    assert kept_bytes(lambda: byte_linear(x, weight, bias), weight) == x.numel()
    outer = draw(3, 5, 4, seed=3).detach()
    exact = torch.autograd.grad(nn.functional.linear(x, weight, bias), (x, weight, bias), outer)
    for ours, right in zip(torch.autograd.grad(byte_linear(x, weight, bias), (x, weight, bias), outer), exact):
        torch.testing.assert_close(ours, right, rtol=1e-12, atol=1e-12)


def test_pruned_layer_norm_is_exact_when_all_is_kept_and_counts_its_places():
    x, bias = draw(6, 20), draw(20, seed=2)
    weight = draw(20, seed=1).detach()
    assert torch.autograd.gradcheck(lambda a, b: pruned_layer_norm(a, weight, b, keep=1.0), (x, bias))
    kept = kept_bytes(lambda: pruned_layer_norm(x, weight, bias, keep=0.1), weight)
    assert kept == 12 * (8 + 4) + 6 * 8
    for wrong in (0.0, 1.5):
        with pytest.raises(BadInput):
            pruned_layer_norm(x, weight, bias, keep=wrong)
