"""Training on integers: scaled gradients make it plain descent on real weights; refusals; the lazy arms' bytes."""

from __future__ import annotations

import pytest
import torch

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import Category
from workbench.memory.measure import measure
from workbench.nn.integer_layers import IntegerConv

ALL = {"biases": 99, "update": "all"}


def case(model: str = "tiny-cnn", batch: int = 4, **settings) -> Case:
    return Case("pixels", model, "int8-training", batch, settings=settings)


def gradients(**settings) -> dict[str, tuple[torch.Tensor, torch.Tensor, IntegerConv]]:
    """Each weight's integers, their (scaled) gradient as the update rule gets it, and its layer."""
    made = case(**ALL, **settings)
    net = made.attached()
    owners = {id(conv.weight_handle): (name, conv) for name, conv in net.convolutions}
    found = {}

    def observe(parameter):
        if id(parameter) in owners:
            name, conv = owners[id(parameter)]
            found[name] = parameter.detach().clone(), parameter.grad.clone(), conv

    step = made.step(net)
    step.observer = observe
    torch.manual_seed(0)
    step(made.example())
    return found


def test_scaled_descent_on_integers_is_descent_on_real_weights():
    """s (Wbar - lr s^-2 G_Wbar) = W - lr G_W before rounding, with G_Wbar = s G_W."""
    raw, scaled = gradients(qas=False), gradients(qas=True)
    assert raw.keys() == scaled.keys() and len(raw) == 16
    for name, (integers, gradient, conv) in raw.items():
        s = conv.real_weight_scale(None)
        real_gradient = gradient / s
        lr = 0.05 * float((s * integers).norm() / real_gradient.norm().clamp(min=1e-12))
        on_integers = s * (integers - lr * scaled[name][1])
        on_reals = s * integers - lr * real_gradient
        assert (on_integers - on_reals).abs().max() <= 4e-7 * on_reals.abs().max(), name
        assert (on_reals - s * integers).abs().max() > 1e-3 * on_reals.abs().max(), "a step that moves nothing"


def test_norm_ratios_are_off_by_the_square_of_the_scale_and_mended_by_qas():
    reference = case(graph="float", **ALL)
    net = reference.attached()
    net(**reference.example()[0]).loss.backward()

    def ratio(of):
        norms = [[float(t.norm()) for t in of[name][:2]] for name, _ in net.convolutions]
        return torch.tensor([w / g for w, g in norms]).log10()

    raw, scaled = ratio(gradients(qas=False)), ratio(gradients(qas=True))
    float_ratio = torch.tensor([float(c.weight.norm() / c.weight.grad.norm()) for _, c in net.convolutions]).log10()
    assert (raw - float_ratio).min() > 2, "orders of magnitude"
    assert (scaled - float_ratio).abs().median() < 0.15


def test_integer_gradients_point_where_the_float_gradients_do():
    found = gradients(qas=True)
    reference = case(graph="fake", **ALL)
    net = reference.attached()
    net(**reference.example()[0]).loss.backward()
    cosines = []
    for name, conv in net.convolutions:
        _, gradient, layer = found[name]
        real = gradient * layer.real_weight_scale(None)
        mine = real.t() if layer.kind == "depthwise" else real
        cosine = torch.nn.functional.cosine_similarity(mine.flatten(), conv.weight.grad.flatten(), dim=0)
        cosines.append(float(cosine))
    # Gradients are rounded to 8 bits at each of 16 layers on the way down.
    assert min(cosines) > 0.8 and cosines[-1] > 0.99, cosines


def test_rounding_to_the_nearest_loses_small_steps_and_stochastic_rounding_does_not():
    moved = {}
    for rounding in ("nearest", "stochastic"):
        made = case(rounding=rounding, update="-1:1", biases=0, lr=1e-4)
        net = made.attached()
        step = made.step(net)
        before = net.convolutions[-1][1].weight.clone()
        torch.manual_seed(0)
        for _ in range(5):
            step(made.example())
        moved[rounding] = int((net.convolutions[-1][1].weight != before).sum())
    assert moved["nearest"] == 0 and moved["stochastic"] > 0


def test_a_slice_trains_its_channels_and_no_other():
    made = case(update="-1:1/4", biases=0, lr=1.0)
    net = made.attached()
    conv = net.convolutions[-1][1]
    before = conv.weight.clone()
    step = made.step(net)
    for _ in range(3):
        step(made.example())
    changed = (conv.weight != before).any(0).nonzero().flatten().tolist()
    assert changed and set(changed) <= set(conv.channels.tolist())


def test_early_updates_give_the_same_weights_and_keep_one_tensors_gradient():
    nets, profiles = {}, {}
    for updates in ("early", "late"):
        made = case(updates=updates, rounding="nearest", lr=0.5, **ALL)
        nets[updates] = made.attached()
        made.step(nets[updates])(made.example())
        profiles[updates] = made.predict()
    # Only the input's gradient uses a weight after its own update, and it is taken before.
    for (name, one), (_, other) in zip(nets["early"].convolutions, nets["late"].convolutions):
        assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias), name
    convs = [conv for _, conv in nets["early"].convolutions]
    sums = [4 * (conv.weight.numel() + conv.outputs) for conv in convs]
    most = {u: max(phase.get(Category.GRADIENTS, 0) for phase in p.by_phase.values()) for u, p in profiles.items()}
    assert most["late"] >= sum(sums)
    assert most["early"] <= max(sums) + 8 * max(conv.weight.numel() for conv in convs) < sum(sums)


@pytest.mark.parametrize(
    "settings",
    [{}, ALL, {"optimizer": "adamw"}, {"optimizer": "lars"}, {"updates": "late"}, {"gradients": "all"},
     {"graph": "float", "update": "-1"}, {"graph": "fake", "update": "-1"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("model", ["tiny-cnn", "mcu-watch"])
def test_prediction_is_exact(model, settings):
    made = case(model, 3, **settings)
    assert made.predict().peak == measure(made.step(made.attached()), made.example()).peak


def test_the_lazy_arms_are_given_away_by_their_bytes():
    def weights(**settings):
        return made_profile(**settings).by_category[Category.WEIGHTS]

    def made_profile(**settings):
        return case(update="-1:1", **settings).predict()

    real, fake = weights(graph="int8"), weights(graph="fake")
    assert fake > 2.5 * real, "fake quantization keeps a float32 master copy"
    assert fake == pytest.approx(weights(graph="float"), rel=0.01)
    saved, masked = made_profile().saved, made_profile(gradients="all").saved
    assert masked > 3 * saved, "masking after computing keeps every input"


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-vit", "tiny-sensor"])
def test_other_models_are_refused_at_plan_time_with_the_reason(model):
    task = "tokens" if model in ("tiny-bert", "tiny-llama") else "pixels"
    reason = Case(task, model, "int8-training", 2).refusal()
    assert reason is not None and model in reason and "inverted residuals" in reason


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"update": "3:1/3"}, "1/8"),
        ({"update": "head"}, "convolutions by number"),
    ],
)
def test_bad_updates_are_one_sentence(settings, text):
    with pytest.raises(BadInput, match=text):
        case(**settings)


def test_a_convolution_that_does_not_exist_is_named():
    with pytest.raises(BadInput, match="-16 to 15"):
        case(update="40").attached(device="meta")


def test_levers_that_would_do_nothing_are_refused():
    for lever in ({"bit_masks": True}, {"saved": "int8"}, {"weights": "bf16"}, {"executor": "graph"}):
        reason = case(**lever).refusal()
        assert reason is not None and next(iter(lever)) in reason
    with pytest.raises(Incompatible, match="accumulate"):
        made = case()
        made.step(made.attached())([made.example()[0]] * 2)


@pytest.mark.slow
@pytest.mark.assets
def test_scaled_gradients_learn_what_float_learns_and_plain_ones_only_the_head(pulled):
    """Three seeds on real data, everything trained from random weights; each arm's rate is the best of its grid."""
    from workbench.core.schedule import Schedule
    from workbench.session import Session
    from workbench.stats import paired_difference
    from workbench.tasks.base import Sizes

    pulled("watch")

    def scores(lr, **settings):
        found = {}
        for seed in range(3):
            made = Case("watch-exercises", "mcu-watch", "int8-training", 16, settings={**ALL, "lr": lr, **settings})
            session = Session(made, seed, None, Schedule(steps=150), Sizes(None, 600))
            session.prepare()
            for _ in session.steps():
                pass
            found[seed] = session.score().value
        return found

    scaled, plain, real = scores(0.1), scores(1.0, qas=False), scores(0.1, graph="float")
    gain = paired_difference(scaled, plain)
    assert gain is not None and gain.low is not None and gain.low > 0.05, gain
    away = paired_difference(scaled, real)
    assert away is not None and away.mean > -0.05, away


@pytest.mark.slow
@pytest.mark.assets
def test_a_pretrained_net_survives_quantization_without_data(pulled):
    """EfficientNet-Lite0's features in integers against those in float, on real pictures."""
    from workbench.tasks.base import Sizes

    pulled("efficientnet-lite0")
    pulled("fashion-mnist")
    kinds = {graph: {"graph": graph, "biases": 0, "update": ""} for graph in ("int8", "float")}
    made = {graph: Case("fashion-mnist", "efficientnet-lite0", "int8-training", 8, settings=s) for graph, s in
            kinds.items()}  # fmt: skip
    first = made["int8"]
    data = first.task.load(first.spec, Sizes(16, 16), 0)
    pixels = first.task.collate(data.test[:8], first.spec)["pixel_values"]
    features = {}
    for graph, case_ in made.items():
        net = case_.attached().eval()
        net.classifier.register_forward_pre_hook(lambda _, inputs, g=graph: features.__setitem__(g, inputs[0]))
        with torch.no_grad():
            net(pixels)
    alike = torch.nn.functional.cosine_similarity(features["int8"], features["float"], dim=1)
    assert alike.mean() > 0.92 and alike.min() > 0.85, alike
