"""Packed saved tensors: how many bytes, how exact, and what is never packed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.nn.saved_tensors import SavedTensorPacker, View, encode, row_length


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.floats(1e-20, 1e20), st.integers(0, 99))
def test_int8_error_is_half_a_step_of_its_row_and_signs_stay(rows, width, size, seed):
    flat = torch.randn(rows * width, generator=torch.Generator().manual_seed(seed)).relu_() * size
    packed = encode(flat, width, "int8").unpacked()
    step = (flat.view(rows, width).abs().amax(1, keepdim=True) / 127).expand(rows, width).reshape(-1)
    error = (packed - flat).abs()
    assert torch.equal(packed > 0, flat > 0), "the mask of a ReLU is read off its saved result"
    assert (error <= torch.where(flat.abs() < step / 2, 1.01, 0.51) * step + 1e-37).all()


def test_formats_and_their_bytes():
    flat = torch.randn(640)
    half, quarter = encode(flat, 64, "bf16"), encode(flat, 64, "int8")
    assert torch.equal(half.unpacked(), flat.bfloat16().float())
    assert half.values.nbytes == flat.nbytes // 2
    assert quarter.values.nbytes + quarter.scales.nbytes == flat.nbytes // 4 + 10 * 4
    assert torch.equal(encode(torch.zeros(64), 64, "int8").unpacked(), torch.zeros(64))
    assert encode(flat.bfloat16(), 64, "int8").unpacked().dtype is torch.bfloat16


def test_rows_follow_memory_order():
    assert row_length(torch.zeros(4, 48)) == 48
    assert row_length(torch.zeros(4, 5, 7, 7)) == 49
    assert row_length(torch.zeros(4, 5, 7, 7).to(memory_format=torch.channels_last)) == 35
    assert row_length(torch.zeros(48, 4).t()) == 192


@pytest.mark.parametrize(("form", "tolerance"), [("bf16", 0.01), ("int8", 0.03)])
def test_gradients_stay_close(form, tolerance):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    x, target = torch.randn(4, 32, 64), torch.randn(4, 32, 64)
    exact_loss = (layer(x) * target).sum()
    exact = torch.autograd.grad(exact_loss, list(layer.parameters()))
    with SavedTensorPacker(form, layer.parameters()):
        loss = (layer(x) * target).sum()
    near = torch.autograd.grad(loss, list(layer.parameters()))
    assert torch.equal(loss, exact_loss)
    for (name, _), a, b in zip(layer.named_parameters(), exact, near, strict=True):
        if name != "self_attn.in_proj_bias":  # a third of it is exactly zero: keys do not feel their bias
            assert (a - b).norm() <= tolerance * a.norm(), name
    assert any(not torch.equal(a, b) for a, b in zip(exact, near))


def _stored(packer_form, run, kept=()):
    """What the packer keeps for each saved tensor."""
    stored = []
    packer = SavedTensorPacker(packer_form, kept)
    original = packer._pack

    def pack(tensor):
        stored.append((tensor, original(tensor)))
        return stored[-1][1]

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: pytest.fail("nothing is unpacked here")):
        result = run()
    return stored, result


def test_one_storage_is_packed_once_however_many_views_are_saved():
    x = torch.randn(4, 32, 64, requires_grad=True).exp()
    layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
    stored, _ = _stored("int8", lambda: [f(x) for f in layers], layers.parameters())
    views = [s for _, s in stored if isinstance(s, View)]
    assert len(views) == 3 and len({id(v.packed) for v in views}) == 1


def test_a_changed_tensor_is_packed_again():
    x = torch.randn(64, 64)
    weight = torch.randn(64, 64, requires_grad=True)

    def run():
        first = x @ weight
        x.mul_(2)
        return first, x @ weight

    stored, _ = _stored("int8", run, [weight])
    packed = [s.packed for _, s in stored if isinstance(s, View)]
    assert len(packed) == 2
    torch.testing.assert_close(packed[1].unpacked(), 2 * packed[0].unpacked())


def test_parameters_integers_small_tensors_and_row_statistics_stay():
    table = nn.Embedding(500, 64)
    norm, wide = nn.LayerNorm(64), nn.Linear(64, 64)

    def run():
        h = norm(wide(table(torch.arange(400).view(2, 200) % 500)))
        q = h.view(2, 200, 4, 16).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(q, q * 1.5, q * 0.5)

    kept = [*table.parameters(), *norm.parameters(), *wide.parameters()]
    stored, _ = _stored("int8", run, kept)
    own = {p.untyped_storage()._cdata for p in kept}
    for tensor, saved in stored:
        full = tensor.shape[-1] in (16, 64) and tensor.is_floating_point()
        expected = full and tensor.untyped_storage()._cdata not in own
        assert isinstance(saved, View) == expected, tensor.shape
    shapes = [tuple(t.shape) for t, s in stored if isinstance(s, torch.Tensor)]
    assert (2, 4, 200) in shapes, "the log-sum-exp of attention keeps its precision"
