"""The chunked loss is cross-entropy, and so is its gradient, without whole logits ever existing."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from workbench.nn.chunked_loss import ChunkedLinear, chunked_cross_entropy, deferring_head

IGNORED = -100


def _inputs(dtype=torch.float32, bias=True):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 16, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(101, 16, generator=generator, dtype=dtype).requires_grad_()
    offset = torch.randn(101, generator=generator, dtype=dtype).requires_grad_() if bias else None
    targets = torch.randint(0, 101, (37,), generator=generator)
    targets[::5] = IGNORED
    return hidden, weight, offset, targets


@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_cross_entropy(chunk, reduction, bias):
    hidden, weight, offset, targets = _inputs(bias=bias)
    leaves = [t for t in (hidden, weight, offset) if t is not None]
    expected = cross_entropy(linear(hidden, weight, offset), targets, ignore_index=IGNORED, reduction=reduction)
    loss = chunked_cross_entropy(hidden, weight, offset, targets, chunk, IGNORED, reduction)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for got, wanted in zip(torch.autograd.grad(3 * loss, leaves), torch.autograd.grad(3 * expected, leaves)):
        assert (got - wanted).norm() <= 1e-6 * wanted.norm()


def test_large_logits_do_not_overflow():
    hidden, weight, _, targets = _inputs(bias=False)
    loss = chunked_cross_entropy(hidden * 1e3, weight, None, targets, 8, IGNORED)
    torch.testing.assert_close(loss, cross_entropy(linear(hidden * 1e3, weight), targets, ignore_index=IGNORED))


def test_frozen_weight_and_no_grad_make_no_gradient_of_the_weight():
    hidden, weight, _, targets = _inputs(bias=False)
    loss = chunked_cross_entropy(hidden, weight.detach(), None, targets, 8, IGNORED)
    loss.backward()
    assert hidden.grad is not None and weight.grad is None
    with torch.no_grad():
        assert not chunked_cross_entropy(hidden, weight, None, targets, 8, IGNORED).requires_grad


def test_second_backward_is_refused():
    hidden, weight, _, targets = _inputs(bias=False)
    loss = chunked_cross_entropy(hidden, weight, None, targets, 8, IGNORED)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        loss.backward()


def test_adopting_keeps_names_and_outputs():
    layer = torch.nn.Linear(4, 9)
    names, x = list(layer.state_dict()), torch.randn(3, 4)
    before = layer(x)
    ChunkedLinear.adopt(layer, 2)
    assert list(layer.state_dict()) == names
    assert torch.equal(layer(x), before)
    assert deferring_head(torch.nn.Sequential(layer)) is layer
    with layer.deferred():
        assert layer(x) is x
    assert torch.equal(layer(x), before)


def test_language_loss_is_the_same_through_a_peft_wrapped_tied_model():
    from workbench.case import Case

    gradients = []
    for chunk in (0, 16):
        case = Case("tokens", "tiny-llama", "lora", 2, 24, settings={"chunked_loss": chunk})
        model = case.attached(weights=False)
        loss = case.task.loss(model.eval(), case.example()[0])
        loss.backward()
        gradients.append((loss.detach(), [p.grad for p in model.parameters() if p.requires_grad]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)
