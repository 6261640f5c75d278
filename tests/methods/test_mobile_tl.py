"""Norms that train their shift only and activations with one bit: exact for ReLU6, and the bytes of the formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from workbench.core.errors import BadInput, Incompatible
from workbench.lens.visited import visits
from workbench.memory.measure import measure
from workbench.models import resolve
from workbench.models.efficientnet_lite import InvertedResidual
from workbench.models.structure import blocks
from workbench.nn.lean_frozen import ShiftOnlyNorm, freeze_norm, gate_hardswish
from workbench.parts.selection.shift_only_blocks import ShiftOnlyBlocks, inner_norms
from workbench.parts.storage.gated_activations import GatedActivations
from workbench.testing import Subject

MODELS = ("tiny-cnn", "tiny-hardswish")


def attached(model: str, **settings: Any) -> nn.Module:
    return Subject("mobile-tl", model, settings).attached()


def with_statistics(model: nn.Module) -> nn.Module:
    """Every norm as after some training: statistics, scales and shifts that are not those of a fresh one."""
    draw = torch.Generator().manual_seed(5)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        with torch.no_grad():
            for tensor, low, high in ((norm.running_mean, -0.3, 0.3), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 2),
                                      (norm.bias, 0.5, 1.5)):  # fmt: skip
                tensor.uniform_(low, high, generator=draw)
    return model


def gradients(model: str, compute: str, width: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    subject = Subject("mobile-tl", model)
    made = with_statistics(resolve(model).build(4, weights=True, seed=0)).to(width)
    lean = compute == "lean"
    made = ShiftOnlyBlocks(4, lean).attach(made)
    made = GatedActivations().encode(made) if lean else made
    made.train()
    batch = {n: t.to(width) if t.is_floating_point() else t % 4 for n, t in subject.examples()[0].items()}
    made(**batch).loss.backward()
    return {n: p.grad for n, p in made.named_parameters() if p.grad is not None}


# -- exactness -----------------------------------------------------------------------------------------------


def test_with_relu6_every_gradient_is_torchs_with_frozen_norms() -> None:
    stock, lean = gradients("tiny-cnn", "requires-grad"), gradients("tiny-cnn", "lean")
    assert stock.keys() == lean.keys() and any("expand_norm.bias" in n for n in lean)
    assert not any("expand_norm.weight" in n or "depthwise_norm.weight" in n for n in lean)
    for name in stock:
        torch.testing.assert_close(lean[name], stock[name], rtol=1e-10, atol=1e-12, msg=name)


def test_trained_for_steps_it_is_the_lazy_arm_in_numbers_and_not_in_bytes() -> None:
    trained = {}
    for compute in ("lean", "requires-grad"):
        subject = Subject("mobile-tl", "tiny-cnn", {"compute": compute})
        model = subject.attached()
        losses = subject.trained(model, 4)[1]
        trained[compute] = losses, subject.case.predict()
    assert trained["lean"][0] == pytest.approx(trained["requires-grad"][0], rel=1e-4)
    assert trained["lean"][1].saved < 0.6 * trained["requires-grad"][1].saved


def test_with_hard_swish_one_layer_points_the_right_way() -> None:
    """Known on normal input of deviation 1.5: a threshold of 0 gives a cosine of 0.92, one of -1.5 gives 0.86."""
    x = 1.5 * torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    outer = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    exact = torch.autograd.grad(nn.Hardswish()(x), x, outer)[0].flatten()
    for threshold, known in ((0.0, 0.92), (-1.5, 0.86)):
        gated = gate_hardswish(nn.Hardswish(), threshold)
        found = torch.autograd.grad(gated(x), x, outer)[0].flatten()
        assert torch.cosine_similarity(found, exact, 0) == pytest.approx(known, abs=0.01)


def test_with_hard_swish_what_no_gate_stands_before_is_exact() -> None:
    stock, lean = gradients("tiny-hardswish", "requires-grad"), gradients("tiny-hardswish", "lean")
    last = "blocks.4.project_conv.weight"  # its input is the exact forward activation
    torch.testing.assert_close(lean[last], stock[last], rtol=1e-10, atol=1e-12)
    for name in stock:  # shifts, and what lies below more gates, point less well: see the benchmark's page
        if name.startswith(("blocks.4", "head", "classifier")) and name.endswith("weight"):
            assert torch.cosine_similarity(lean[name].flatten(), stock[name].flatten(), 0) > 0.8, name
    first = "blocks.1.expand_conv.weight"
    assert not torch.allclose(lean[first], stock[first], rtol=1e-3)


def test_the_tuned_tensors_have_the_names_and_places_of_the_plain_model() -> None:
    subject = Subject("mobile-tl", "tiny-cnn")
    model = subject.attached()
    subject.trained(model, 3)
    state = subject.method.adapter_state(model)
    plain = resolve("tiny-cnn").build(10, weights=True, seed=0)
    names = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    assert all(names[n].shape == t.shape for n, t in state.items())
    assert not any(n.endswith(("expand_norm.running_mean", "expand_norm.weight")) for n in state if n[7] in "234")


# -- what moves ----------------------------------------------------------------------------------------------


def test_inner_norms_keep_scale_and_statistics_and_outer_ones_move() -> None:
    subject = Subject("mobile-tl", "tiny-cnn", {"blocks": 2})  # random weights: statistics below are worth nothing
    model = subject.attached()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    subject.trained(model, 2)
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    top = {"blocks.3", "blocks.4"}
    for name, block in blocks(model):
        for norm in ("expand_norm", "depthwise_norm"):
            if hasattr(block, norm) and name in top:
                assert isinstance(getattr(block, norm), ShiftOnlyNorm)
                assert {f"{name}.{norm}.{t}" for t in ("running_mean", "running_var", "weight")}.isdisjoint(moved)
                assert f"{name}.{norm}.bias" in moved
    assert {f"blocks.4.project_norm.{t}" for t in ("running_mean", "weight", "bias")} <= moved
    assert "stem_norm.running_mean" in moved and "stem_norm.weight" not in moved


def test_no_backward_pass_below_the_first_trained_block() -> None:
    work = {layer.layer: layer for layer in visits(Subject("mobile-tl", "tiny-cnn", {"blocks": 2}).case).layers}
    for name in ("stem_conv", "blocks.0", "blocks.1", "blocks.2"):
        found = next(v for k, v in work.items() if k.startswith(name))
        assert found.backward_flops == 0 < found.forward_flops
        assert found.saved == 0 or name == "blocks.2"  # whose output the first trained convolution reads
    full = visits(Subject("full", "tiny-cnn").case).total("backward_flops")
    assert 0 < sum(v.backward_flops for v in work.values()) < full


# -- bytes ---------------------------------------------------------------------------------------------------


def kept(block: nn.Module, x: torch.Tensor) -> int:
    """Bytes saved for backward, each storage once, without those of the block's own tensors."""
    own = {t.untyped_storage().data_ptr() for t in (*block.parameters(), *block.buffers())}
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = block(x)  # held, or a later storage could take an earlier one's address
    assert result.requires_grad
    return sum(seen.values())


@pytest.mark.parametrize("activation", ["relu6", "hard-swish"])
@pytest.mark.parametrize(("outputs", "stride", "kernel"), [(8, 1, 3), (12, 1, 5), (12, 2, 3)])
def test_a_block_keeps_what_the_formula_says_to_the_byte(
    activation: str, outputs: int, stride: int, kernel: int
) -> None:
    block = InvertedResidual(8, outputs, 6, kernel, stride, activation=activation)
    for norm in inner_norms(block):
        freeze_norm(norm)
    GatedActivations().encode(nn.Sequential(block, nn.Identity()))
    x = torch.randn(4, 8, 10, 10, requires_grad=True)
    narrow, inner, after = x.nbytes, 4 * 4 * 48 * 100, 4 * 4 * 48 * 100 // stride**2
    padded = 4 * 4 * 48 * (10 + kernel - stride) ** 2 if stride > 1 else inner  # the depthwise convolution's input
    wide = 4 * 4 * outputs * 100 // stride**2
    statistics = 2 * 4 * outputs  # of the batch, for the norm that trains whole
    masks = math.ceil(inner / 32) + math.ceil(after / 32)
    assert kept(block, x) == narrow + padded + after + wide + statistics + masks


def test_stride_one_blocks_keep_the_known_shares_of_stock_and_of_a_leaner_baseline() -> None:
    """In units of the narrow map: stock 38, one whose activation is its convolution's input 26, this 14.375."""
    found = {}
    for name, activation in (("stock", "relu6"), ("shared", "relu"), ("ours", "relu6")):
        block = InvertedResidual(16, 16, 6, 3, 1)
        if activation == "relu":
            block.activation = nn.ReLU()  # torch keeps its result, which the next convolution keeps as well
        if name == "ours":
            for norm in inner_norms(block):
                freeze_norm(norm)
            GatedActivations().encode(nn.Sequential(block, nn.Identity()))
        x = torch.randn(8, 16, 16, 16, requires_grad=True)
        found[name] = kept(block, x) / x.nbytes
    assert found["stock"] == pytest.approx(38.008, abs=0.02)
    assert found["shared"] == pytest.approx(26, abs=0.02)
    assert found["ours"] == pytest.approx(14.375, abs=0.01)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("tiny-cnn", {"blocks": 5}),
        ("tiny-hardswish", {}),
        ("mcu-watch", {}),
        ("tiny-cnn", {"compute": "requires-grad"}),
        ("tiny-cnn", {"bit_masks": True, "channels_last": True}),
        ("tiny-cnn", {"statistics": "moving", "update_in_backward": True}),
        ("tiny-cnn", {"executor": "graph"}),
        ("tiny-cnn", {"blocks": 0}),
    ],
)
def test_predicted_bytes_are_measured_bytes(model: str, settings: dict[str, Any]) -> None:
    from workbench.case import Case

    case = Case("pixels", model, "mobile-tl", 4, settings=settings)
    predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
    assert predicted.peak == measured.peak
    assert predicted.saved == measured.saved


@pytest.mark.parametrize("model", MODELS)
def test_the_lazy_arm_is_given_away_by_its_bytes(model: str) -> None:
    profiles = {c: Subject("mobile-tl", model, {"compute": c}).case.predict() for c in ("lean", "requires-grad")}
    stock = Subject("last-blocks", model, {"blocks": 3}).case.predict()
    assert profiles["lean"].saved < 0.6 * stock.saved
    assert profiles["requires-grad"].saved > 0.95 * stock.saved
    lazy = attached(model, compute="requires-grad").blocks[-1].expand_norm
    assert type(lazy) is nn.BatchNorm2d and not lazy.training


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-vit", "tiny-sensor"])
def test_models_without_inverted_residuals_are_refused_at_plan_time(model: str) -> None:
    reason = Subject("mobile-tl", model).case.refusal() or ""
    assert "inverted residuals" in reason and model in reason
    with pytest.raises(Incompatible, match="inverted residual"):
        ShiftOnlyBlocks(1).attach(resolve(model).build(4, device="meta", weights=False, seed=0))


def test_more_blocks_than_there_are_name_the_allowed_number() -> None:
    with pytest.raises(BadInput, match="0 to 5"):
        Subject("mobile-tl", "tiny-cnn", {"blocks": 6}).attached()


def test_an_integer_graph_refuses_hard_swish() -> None:
    assert "hard-swish" in (Subject("int8-training", "tiny-hardswish").case.refusal() or "")
