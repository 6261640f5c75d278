"""A trained slice of input channels: exact gradients, only the slice saved, one storage, the usual state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.core.errors import BadInput
from workbench.nn.sliced_linear import SlicedConv2d, SlicedLinear, SlicedRows

LAYERS = {
    "linear": (lambda: nn.Linear(12, 7), SlicedLinear, (3, 5, 12)),
    "rows": (lambda: nn.Linear(7, 12), SlicedRows, (3, 5, 7)),
    "convolution 1x1": (lambda: nn.Conv2d(12, 7, 1), SlicedConv2d, (2, 12, 5, 5)),
    "convolution 3x3": (lambda: nn.Conv2d(12, 7, 3, stride=2, padding=1, bias=False), SlicedConv2d, (2, 12, 6, 6)),
}


def pair(kind: str, channels: int = 4) -> tuple[nn.Module, nn.Module, Tensor]:
    make, sliced, shape = LAYERS[kind]
    torch.manual_seed(0)
    plain = make()
    return plain, sliced(copy.deepcopy(plain), channels), torch.randn(shape)


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes autograd keeps beside the module's own parameters and the input, each storage once."""
    kept: dict[int, int] = {}
    ours = {p.untyped_storage()._cdata for p in module.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = module(x)
    del out
    return sum(kept.values())


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels", [1, 4, 12])
def test_gradients_are_the_slice_of_the_whole(kind: str, channels: int) -> None:
    plain, sliced, x = pair(kind, channels)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [module(x) for module, x in zip((plain, sliced), inputs)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().sum().backward()
    whole = plain.weight.grad.transpose(0, sliced.axis)
    torch.testing.assert_close(sliced.part.grad, whole[:channels], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-5, atol=1e-5)
    if plain.bias is not None:
        torch.testing.assert_close(sliced.bias.grad, plain.bias.grad, rtol=1e-5, atol=1e-5)
    assert sliced.weight.grad is None


@pytest.mark.parametrize("kind", ["convolution 1x1", "convolution 3x3"])
def test_a_map_by_itself_is_taken_as_torchs_takes_it(kind: str) -> None:
    plain, sliced, x = pair(kind)
    torch.testing.assert_close(sliced(x[1]), plain(x[1]))
    sliced(x[1]).square().sum().backward()
    plain(x[1]).square().sum().backward()
    whole = plain.weight.grad.transpose(0, 1)
    torch.testing.assert_close(sliced.part.grad, whole[: sliced.channels], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_gradcheck(kind: str) -> None:
    _, sliced, x = pair(kind)
    make, kind_of, _ = LAYERS[kind]
    sliced = kind_of(make().double(), 4)
    trained = [sliced.part, *([sliced.bias] if sliced.bias is not None else [])]
    assert torch.autograd.gradcheck(lambda x, *_: sliced(x), (x.double().requires_grad_(), *trained))


@pytest.mark.parametrize("kind", LAYERS)
def test_only_the_slice_is_saved(kind: str) -> None:
    plain, sliced, x = pair(kind)
    x.requires_grad_()
    assert saved_bytes(plain, x) == x.nbytes
    assert saved_bytes(sliced, x) == (x.nbytes if kind == "rows" else x.nbytes * 4 // 12)
    sliced.part.requires_grad_(False)
    assert saved_bytes(sliced, x) == 0


@pytest.mark.parametrize("kind", LAYERS)
def test_the_weight_gradient_costs_its_share(kind: str) -> None:
    """Forward and input gradient as ever, and k of K channels of the weight gradient, in floating-point operations."""
    _, sliced, x = pair(kind)
    x.requires_grad_()
    with FlopCounterMode(display=False) as forward:
        out = sliced(x)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    whole = forward.get_total_flops()
    assert backward.get_total_flops() == whole + whole * 4 // 12


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("fused", [False, True])
def test_an_update_reaches_the_weight(kind: str, fused: bool) -> None:
    """The slice moves as it would in a whole weight whose gradient is masked; the rest stays to the bit."""
    plain, sliced, x = pair(kind)
    before = sliced.weight.detach().clone()
    frozen = [slice(None)] * sliced.axis + [slice(4, None)]
    trained = [slice(None)] * sliced.axis + [slice(4)]
    ours, theirs = (torch.optim.AdamW([t], lr=0.1, fused=fused) for t in (sliced.part, plain.weight))
    for _ in range(3):
        for module, optimizer in ((sliced, ours), (plain, theirs)):
            module.zero_grad()
            module(x).square().sum().backward()
            optimizer.step()
        with torch.no_grad():
            plain.weight[tuple(frozen)] = before[tuple(frozen)]
        torch.testing.assert_close(sliced.weight.detach(), plain.weight.detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(sliced.weight[tuple(frozen)], before[tuple(frozen)])
    assert not torch.equal(sliced.weight[tuple(trained)], before[tuple(trained)])
    assert sliced.weight.untyped_storage()._cdata == sliced.part.untyped_storage()._cdata


def test_state_has_the_usual_names() -> None:
    plain, sliced, x = pair("linear")
    assert list(sliced.state_dict()) == ["weight", "bias"]
    plain.load_state_dict(sliced.state_dict())
    other = SlicedLinear(nn.Linear(12, 7), 4)
    other.load_state_dict(plain.state_dict())
    torch.testing.assert_close(other(x), plain(x))
    torch.testing.assert_close(other.part.t(), plain.weight[:, :4])
    for copied in (copy.deepcopy(sliced), copy.deepcopy(sliced).double()):
        assert copied.weight.untyped_storage()._cdata == copied.part.untyped_storage()._cdata


def test_refusals() -> None:
    with pytest.raises(BadInput, match="1 to 12"):
        SlicedLinear(nn.Linear(12, 7), 13)
    with pytest.raises(BadInput, match="ungrouped"):
        SlicedConv2d(nn.Conv2d(12, 12, 3, groups=12), 1)
