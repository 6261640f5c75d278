"""ZeroQAT: its limit is MeZO, its slope that of the smoothed quantized loss, its frozen weights are packed bits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import Category
from workbench.lens.code_flips import all_codes, changed, code_flips
from workbench.memory.measure import measure
from workbench.nn.quantized_linear import Bits, FakeQuantizedLinear, PackedLinear, packed_bytes
from workbench.parts.base import Parts, TrainingStep
from workbench.parts.estimator.zeroth_order import ZerothOrder
from workbench.parts.optimizer.sgd import SGD
from workbench.parts.selection.all import All
from workbench.parts.storage.as_loaded import AsLoaded
from workbench.testing import Subject

WIDE = {"weight_bits": 16, "activation_bits": 16, "scales": "moving"}


def _stepped(method: str, model_name: str, settings: dict[str, Any]) -> tuple[float, list[Tensor]]:
    subject = Subject(method, model_name, settings)
    model = subject.attached()
    step = subject.case.step(model)
    step.set_lr(1e-3)
    loss = float(step(subject.examples(), seed=3))
    return loss, [p.detach() for p in step.parameters]


@pytest.mark.parametrize("model_name", ["tiny-bert", "tiny-llama"])
def test_sixteen_bits_are_mezo(model_name):
    """The loss within 1e-4 and the update within what that difference makes of a slope."""
    loss, found = _stepped("zeroqat", model_name, {**WIDE, "perturbation": 1e-1})
    expected, plain = _stepped("mezo", model_name, {"perturbation": 1e-1})
    assert abs(loss - expected) < 1e-4
    start = [p.detach() for p in Subject("mezo", model_name).attached().parameters()]
    moved = sum(float((a - s).square().sum()) for a, s in zip(plain, start, strict=True))
    off = sum(float((a - b).square().sum()) for a, b in zip(plain, found, strict=True))
    assert moved > 0
    assert math.sqrt(off / moved) < 0.05


class Row(nn.Module):
    """One output of one quantized layer on a fixed input: a staircase in each weight."""

    def __init__(self, scales: str) -> None:
        super().__init__()
        layer = nn.Linear(3, 1, bias=False)
        layer.weight.data = torch.tensor([[-1.0, 0.13, 1.0]])
        FakeQuantizedLinear.adopt(layer, Bits(2, 16, scales))
        self.layer = layer

    def forward(self) -> Tensor:
        return self.layer(torch.tensor([[1.0, 2.0, 3.0]])).sum()


def _estimates(scales: str, eps: float, draws: int) -> Tensor:
    model = Row(scales)
    step = TrainingStep(
        model, Parts(All(), ZerothOrder(eps=eps), SGD(), AsLoaded(), per_parameter=True), lambda m, _: m(), lr=0.0
    )
    found: list[Tensor] = []
    step.observer = lambda p: found.append(p.grad.detach().flatten().clone())
    for draw in range(draws):
        step({}, seed=draw)
    return torch.stack(found)


def test_the_slope_is_that_of_the_smoothed_quantized_loss():
    """The mean estimate is the derivative of the staircase convolved with the noise, known in closed form.

    The scale is 2/3 and the zero point 2 (fixed), so values are -4/3, -2/3, 0, 2/3 with steps half way between.
    """
    eps, scale = 0.3, 2 / 3
    found = _estimates("fixed", eps, 1500)
    steps = [-1.0, -1 / 3, 1 / 3]

    def density(x: float) -> float:
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    for column, (weight, factor) in enumerate(zip([-1.0, 0.13, 1.0], [1.0, 2.0, 3.0])):
        expected = factor * scale / eps * sum(density((weight - t) / eps) for t in steps)
        error = float(found[:, column].std()) / math.sqrt(len(found))
        assert abs(float(found[:, column].mean()) - expected) < 4 * error + 2e-3


def test_small_noise_on_rounded_weights_says_nothing_at_all():
    """The lazy variant: no code flips, so every slope is exactly zero; with moving scales none is."""
    assert bool((_estimates("rounded", 1e-3, 50) == 0).all())
    assert bool((_estimates("moving", 1e-3, 50) != 0).any(1).all())


def test_the_mean_estimate_points_the_way_of_the_straight_through_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 1))
    for layer in (model[0], model[2]):
        FakeQuantizedLinear.adopt(layer, Bits(4, 8))
    x, target = torch.randn(32, 8), torch.randn(32, 1)
    found: dict[nn.Parameter, Tensor] = {}

    def add(parameter: nn.Parameter) -> None:
        found[parameter] = found.get(parameter, 0) + parameter.grad.detach()

    parts = Parts(All(), ZerothOrder(eps=3e-2), SGD(), AsLoaded(), per_parameter=True)
    step = TrainingStep(model, parts, lambda m, _: (m(x) - target).square().mean(), lr=0.0)
    step.observer = add
    for draw in range(1000):
        step({}, seed=draw)
    (model(x) - target).square().mean().backward()
    through = torch.cat([p.grad.flatten() for p in found])
    mean = torch.cat([g.flatten() for g in found.values()])
    assert float(nn.functional.cosine_similarity(mean, through, dim=0)) > 0.5


@pytest.mark.parametrize("model_name", ["tiny-bert", "tiny-llama"])
@pytest.mark.parametrize(
    "settings",
    [
        {"tuned_blocks": 1, "weight_bits": 3},
        {"tuned_blocks": 1, "weight_bits": 4, "scales": "moving"},
        {"transform": True},
        {"scales": "fixed"},
        {"gradient": "own", "optimizer": "adamw"},
    ],
    ids=str,
)
def test_the_predicted_peak_is_the_measured_one(model_name, settings):
    case = Subject("zeroqat", model_name, settings).case
    assert case.predict().peak == measure(case.step(case.attached()), case.example()).peak


def test_frozen_weights_are_packed_in_memory_and_in_the_prediction():
    subject = Subject("zeroqat", "tiny-bert", {"tuned_blocks": 1, "weight_bits": 4, "scales": "moving"})
    model = subject.attached()
    packed = [m for m in model.modules() if isinstance(m, PackedLinear)]
    assert packed
    assert any(isinstance(m, FakeQuantizedLinear) for m in model.modules())
    held = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in [*model.parameters(), *model.buffers()]
    }
    full = Subject("full", "tiny-bert").attached()
    floats = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in [*full.parameters(), *full.buffers()]
    }
    saved = sum(m.in_features * m.out_features * 4 - packed_bytes(m.out_features, m.in_features, 4) for m in packed)
    assert sum(floats.values()) - sum(held.values()) == saved
    # As the allocator rounds, each of a packed layer's few tensors takes at most 63 bytes more.
    weights = Subject("full", "tiny-bert").case.predict().by_category[Category.WEIGHTS]
    kept = subject.case.predict().by_category[Category.WEIGHTS]
    assert abs((weights - kept) - saved) <= 64 * 3 * len(packed)


def test_memory_is_that_of_inference_and_the_largest_layers_temporaries():
    from workbench.memory import ledger

    if not ledger.available():
        pytest.skip("no ledger")
    subject = Subject("zeroqat", "tiny-bert", {"scales": "moving"})
    model = subject.attached().eval()
    step, (batch, *_) = subject.case.step(model), subject.examples()
    peaks = []
    for run in (lambda: subject.case.task.loss(model, batch), lambda: step(batch)):
        with torch.no_grad():
            run()
            with ledger.counting() as count:
                run()
        peaks.append(count.peak)
    largest = max(m.weight.nbytes for m in model.modules() if isinstance(m, nn.Linear))
    vectors = sum(64 * -(-p.nbytes // 64) for p in model.parameters() if p.ndim < 2)
    assert peaks[1] <= peaks[0] + 2 * largest + vectors + 2048


def test_flips_are_counted_and_grow_with_the_noise():
    subject = Subject("zeroqat", "tiny-bert", {"weight_bits": 4})
    model = subject.attached()
    before = all_codes(model)
    found = code_flips(subject.case.step(model), subject.examples()[0], (1e-5, 1e-3, 1e-1), 3)
    assert found[0].flipped < found[1].flipped < found[2].flipped < 1
    assert all(f.silent == 0 for f in found[1:])  # clips, biases and norms move without a flip
    assert found[1].size_held > 0
    assert changed(before, all_codes(model)) == 0  # asking changes nothing
    with pytest.raises(BadInput):
        code_flips(subject.case.step(model), subject.examples()[0], (0.0,), 3)
    with pytest.raises(Incompatible):
        plain = Subject("mezo", "tiny-bert")
        code_flips(plain.case.step(plain.attached()), plain.examples()[0], (1e-3,), 1)


def test_training_the_lazy_variant_moves_no_code():
    moved = []
    for scales in ("rounded", "moving"):
        subject = Subject("zeroqat", "tiny-bert", {"scales": scales, "weight_bits": 2})
        model = subject.attached()
        before = all_codes(model)
        subject.trained(model, 10, lr=1e-4)
        moved.append(changed(before, all_codes(model)))
    assert moved[0] == 0 < moved[1]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"weight_bits": 16, "tuned_blocks": 1}, "packed in 2 to 8 bits"),
        ({"transform": True, "scales": "fixed"}, "transform=False"),
        ({"weights": "nf4"}, "would round twice"),
    ],
)
def test_settings_that_clash_are_refused_in_a_sentence(settings, word):
    reason = Subject("zeroqat", "tiny-bert", settings).case.refusal()
    assert reason is not None
    assert word in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    "wrong", [{"weight_bits": 1}, {"activation_bits": 17}, {"scales": "learnt"}, {"gradient": "x"}]
)
def test_bad_settings_name_the_field_and_what_is_allowed(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        _ = Subject("zeroqat", "tiny-bert", wrong).case.config


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(Incompatible, match="no linear layer"):
        Subject("zeroqat", "tiny-cnn").attached()
