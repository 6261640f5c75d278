"""The integer graph is exact integer arithmetic, holds integers only, and keeps what its byte model says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.case import Case
from workbench.nn import integer_arithmetic as integer
from workbench.nn.integer_arithmetic import Geometry
from workbench.nn.integer_layers import IntegerAdd, IntegerConv, Levels
from workbench.nn.integer_net import IntegerNet

MODELS = ("tiny-cnn", "mcu-watch")


def net_of(model: str = "tiny-cnn", **settings) -> IntegerNet:
    return Case("pixels", model, "int8-training", 3, settings=settings).attached()


def batch_of(model: str = "tiny-cnn", count: int = 3) -> dict:
    return Case("pixels", model, "int8-training", count).example()[0]


# -- an oracle that knows Python's integers only ----------------------------------------------------------


def convolved(x: np.ndarray, conv: IntegerConv) -> np.ndarray:
    """Sums of (x - zero) * weight by plain loops, in Python's unbounded integers; x is (N, H, W, C)."""
    left, right, top, bottom = conv.geometry.padding
    centred = np.pad(x.astype(object) - conv.zero_in, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=0)
    rows, columns = conv.geometry.outputs(x.shape[1], x.shape[2])
    kh, kw = conv.geometry.kernel
    weight = conv.weight.numpy().astype(object)
    out = np.zeros((x.shape[0], rows, columns, conv.outputs), dtype=object)
    for r in range(rows):
        for c in range(columns):
            at = (r * conv.geometry.stride[0], c * conv.geometry.stride[1])
            window = centred[:, at[0] : at[0] + kh, at[1] : at[1] + kw]
            if conv.kind == "depthwise":
                out[:, r, c] = (window.reshape(len(x), kh * kw, -1) * weight).sum(1)
            else:
                flat = np.moveaxis(window, 3, 1).reshape(len(x), -1)
                out[:, r, c] = flat.dot(weight.T)
    return out


def oracle(net: IntegerNet, x: np.ndarray) -> np.ndarray:
    values = {0: x}
    for operation in net.program:
        layer = net.layers[operation.name]
        if isinstance(layer, IntegerAdd):
            factors, shift = [int(f) for f in layer.factors], 20
            terms = [(values[i].astype(object) - z) * f for i, z, f in zip(operation.inputs, layer.zeros, factors)]
            wide = terms[0] + terms[1]
            scaled = (wide + (1 << (shift - 1))) // (1 << shift) + layer.zero_out
        else:
            assert isinstance(layer, IntegerConv)
            sums = convolved(values[operation.inputs[0]], layer) + layer.bias.numpy().astype(object)
            scaled = np.empty_like(sums)
            for o in range(layer.outputs):
                shift = int(layer.shift[o])
                scaled[..., o] = (sums[..., o] * int(layer.multiplier[o]) + (1 << (shift - 1))) // (1 << shift)
            scaled = scaled + layer.zero_out
        values[operation.output] = np.clip(scaled, -128, 127)
    return values[net.program[-1].output].astype(np.int8)


@pytest.mark.parametrize("model", MODELS)
def test_the_forward_pass_is_that_of_an_integer_only_machine(model):
    net, batch = net_of(model), batch_of(model, 2)
    x = net.quantized(batch["pixel_values"])
    with torch.no_grad():
        assert np.array_equal(net.body(x).numpy(), oracle(net, x.numpy()))
    assert len(np.unique(oracle(net, x.numpy()))) > 8, "a constant map would prove nothing"


GEOMETRIES = {
    "pointwise": Geometry((1, 1), (1, 1), (0, 0, 0, 0)),
    "depthwise": Geometry((3, 3), (2, 2), (0, 1, 0, 1)),
    "dense": Geometry((3, 3), (1, 1), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_integer_gradients_are_those_of_autograd_over_the_same_integers(kind):
    """Products and sums stay far below 2^53, so float64 autograd is an exact oracle."""
    generator = torch.Generator().manual_seed(0)
    g = GEOMETRIES[kind]

    def drawn(*shape):
        return torch.randint(-128, 128, shape, generator=generator, dtype=torch.int8)

    x, zero, channels, outputs = drawn(2, 8, 8, 6), -128, 6, 6 if kind == "depthwise" else 5
    weight = drawn(outputs, 1 if kind == "depthwise" else channels, *g.kernel)
    wx = (x.double() - zero).permute(0, 3, 1, 2).requires_grad_()
    ww = weight.double().requires_grad_()
    padded = torch.nn.functional.pad(wx, g.padding)
    y = torch.nn.functional.conv2d(padded, ww, stride=g.stride, groups=6 if kind == "depthwise" else 1)
    gradient = drawn(*y.permute(0, 2, 3, 1).shape)
    y.backward(gradient.permute(0, 3, 1, 2).double())
    if kind == "depthwise":
        flat = weight.flatten(1).t().contiguous()
        forward = integer.depthwise(x, flat, g, zero)
        dw, expected = integer.depthwise_weight(gradient, x, g, zero), ww.grad.flatten(1).t()
        dx = integer.depthwise_input(gradient, flat, g, 8, 8)
    else:
        flat, patches = weight.flatten(1), integer.patches(x, g, zero)
        forward = integer.pointwise(patches, flat, zero)
        dw, expected = integer.pointwise_weight(gradient, patches, zero), ww.grad.flatten(1)
        dx = integer.pointwise_input(gradient, flat) if kind == "pointwise" else None
    assert torch.equal(forward.double(), y.detach().permute(0, 2, 3, 1))
    assert torch.equal(dw.double(), expected)
    assert dw.dtype == forward.dtype == torch.int32
    if dx is not None:
        assert torch.equal(dx.double(), wx.grad.permute(0, 2, 3, 1))


def test_narrowing_rounds_half_up_and_keeps_the_largest():
    sums = torch.tensor([0, 1, -1, 500, -1000, 999], dtype=torch.int32)
    found = integer.narrowed(sums, torch.tensor(0.5))
    expected = [(2 * 127 * int(s) + 1000) // 2000 for s in sums]
    assert found.values.tolist() == expected and found.values.abs().max() == 127
    assert float(found.scale) == pytest.approx(0.5 * 1000 / 127)
    big = torch.randint(-(2**31) + 1, 2**31 - 1, (20000,), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    most = int(big.abs().max())
    expected = [(254 * s + most) // (2 * most) for s in big.tolist()]
    assert integer.narrowed(big, torch.tensor(1.0)).values.tolist() == expected
    assert integer.narrowed(torch.zeros(4, dtype=torch.int32), torch.tensor(1.0)).values.eq(0).all()


# -- what the graph holds --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_no_float_copy_of_a_weight_exists_before_or_after_training(model):
    case = Case("pixels", model, "int8-training", 3, settings={"biases": 99, "update": "all"})
    net = case.attached()
    step = case.step(net)
    for _ in range(2):
        check_dtypes_and_bytes(net)
        step(case.example())


def check_dtypes_and_bytes(net: IntegerNet) -> None:
    weights = sum(c.weight.numel() for _, c in net.convolutions)
    channels = sum(c.outputs for _, c in net.convolutions)
    for _, conv in net.convolutions:
        assert conv.weight.dtype is torch.int8 and conv.bias.dtype is torch.int32
        assert conv.multiplier.dtype is torch.int32 and conv.shift.dtype is torch.int8
    floats = {n: t for n, t in [*net.named_parameters(), *net.named_buffers()] if t.is_floating_point()}
    body = {n: t.numel() for n, t in floats.items() if not n.startswith("classifier.")}
    # One scale a channel, one for each layer's input, one at each end; handles hold nothing between updates.
    assert sum(body.values()) == channels + len(net.convolutions) + 2
    assert all(count == 0 for name, count in body.items() if name.endswith("_handle"))
    held = [*net.parameters(), *net.buffers()]
    head = sum(p.numel() for p in net.classifier.parameters())
    adds = sum(isinstance(m, IntegerAdd) for m in net.layers.values())
    per_channel = 4 + 4 + 4 + 1  # bias, scale, multiplier, shift
    expected = weights + per_channel * channels + 4 * (len(net.convolutions) + 2) + 4 * head + 8 * adds
    assert sum(t.numel() * t.element_size() for t in held) == expected


def test_saved_bytes_are_those_of_the_papers_byte_model():
    """One bit an output on the path, one byte an element of the kept input channels."""
    net = net_of(biases=6, update="-1:1/4,-4:1/2")
    net.train()
    net(**{k: v for k, v in batch_of().items() if k != "labels"})
    names = [name for name, _ in net.convolutions]
    kept = {names[-1]: 0.25, names[-4]: 0.5}
    assert net.trace is not None
    expected = {}
    shapes = {}
    x = net.quantized(batch_of()["pixel_values"])
    values = {0: x}
    with torch.no_grad():
        for op in net.program:
            values[op.output] = net.layers[op.name](*(values[i] for i in op.inputs))[0]
            shapes[op.name] = values[op.inputs[0]].shape, values[op.output].numel()
    for op in net.path():
        (n, h, w, c), out = shapes[op.name]
        expected[op.name] = -(-out // 8) + round(kept.get(op.name, 0) * c) * n * h * w
    found = {
        name: s.blocked.packed.numel() + (0 if s.x is None else s.x.numel() * s.x.element_size())
        for name, s in net.trace.saved.items()
    }
    assert found == expected
    first = min(names.index(name) for name in found if name in names)
    assert first == len(names) - 6, "nothing is kept below the deepest tensor that trains"


def test_slices_are_the_input_channels_of_largest_norm():
    net = net_of(biases=0, update="-1:1/4")
    conv = net.convolutions[-1][1]
    real = conv.weight.double() * conv.scale_w[:, None].double()
    order = real.square().sum(0).argsort(descending=True)[: conv.inputs // 4]
    assert sorted(order.tolist()) == conv.channels.tolist()
    whole = net_of(biases=0, update="-1:1").convolutions[-1][1]
    assert whole.channels is None


@pytest.mark.parametrize("kind", ["pointwise", "depthwise"])
def test_a_channel_of_no_weight_gives_its_bias(kind):
    """Its scale must leave room for the bias and for the rescaling, or both run over."""
    deep = kind == "depthwise"
    weight = torch.randn(4, 1 if deep else 8, 3 if deep else 1, 3 if deep else 1) * 0.2
    weight[1], weight[2] = 0, 1e-6
    bias = torch.tensor([0.1, 0.5, -0.5, -0.2])
    geometry = Geometry((3, 3), (1, 1), (1, 1, 1, 1)) if deep else Geometry((1, 1), (1, 1), (0, 0, 0, 0))
    conv = IntegerConv(kind, weight, bias, geometry, Levels(torch.tensor(0.02), -128), Levels(torch.tensor(0.03), 0))
    x = torch.randint(-128, 128, (1, 3, 3, 4 if deep else 8)).to(torch.int8)
    result, _ = conv(x, False)
    assert (result[..., 1:3].float() * 0.03 - bias[1:3]).abs().max() < 0.02
    assert conv.bias.abs().max() <= 2**24 and conv.shift.max() <= 62
