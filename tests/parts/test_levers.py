"""Every lever lowers the measured peak of a case it is made for, and the prediction follows it to the byte."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import Category
from workbench.memory import ledger
from workbench.memory.measure import measure
from workbench.methods._levers import Levers
from workbench.methods.base import MethodConfig, methods

needs_ledger = pytest.mark.skipif(not ledger.available(), reason=ledger.reason() or "ledger")


class Pull(NamedTuple):
    """A lever on the case it is made for; ``most`` is the share of the peak (or of ``part``) it may leave."""

    model: str
    method: str
    batch: int
    length: int
    settings: dict
    most: float
    part: Category | None = None


PULLS = {
    "chunked loss": Pull("tiny-llama", "full", 4, 64, {"chunked_loss": 32}, 0.7),
    "chunked loss, lora": Pull("tiny-llama", "lora", 4, 64, {"chunked_loss": 32}, 0.55),
    "chunked loss, forward only": Pull("tiny-llama", "mezo", 4, 64, {"chunked_loss": 32}, 0.5),
    "chunked loss, virtual tokens": Pull("tiny-llama", "prompt-tuning", 4, 64, {"chunked_loss": 32}, 0.6),
    "channels last": Pull("tiny-cnn", "last-blocks", 16, 32, {"channels_last": True}, 0.95),
    "channels last, tiny pictures": Pull("efficientnet-lite0", "last-blocks", 1, 64, {"channels_last": True}, 1.02),
    "saved bf16": Pull("tiny-bert", "full", 4, 64, {"saved": "bf16"}, 0.75),
    "saved int8": Pull("tiny-bert", "full", 4, 64, {"saved": "int8"}, 0.65),
    "saved int8, convolutions": Pull("tiny-cnn", "full", 8, 16, {"saved": "int8"}, 0.6),
    "saved int8 of bf16": Pull("tiny-cnn", "full", 8, 16, {"saved": "int8", "weights": "bf16"}, 0.5),
    "saved as SlimFit does": Pull("tiny-bert", "lora", 8, 64, {"saved": "static"}, 0.5),
    "saved as SlimFit does, every weight": Pull("tiny-bert", "full", 8, 64, {"saved": "static"}, 0.6),
    "saved as SlimFit does, pictures": Pull("tiny-vit", "lora", 8, 16, {"saved": "static"}, 0.75),
    "saved as SlimFit does, of bf16": Pull("tiny-bert", "bias", 8, 64, {"saved": "static", "weights": "bf16"}, 0.4),
    "saved as SlimFit does, recomputed": Pull("tiny-bert", "lora", 8, 64, {"saved": "static", "recompute": 2}, 0.5),
    "bit masks, relu6": Pull("tiny-cnn", "full", 8, 16, {"bit_masks": True}, 0.8),
    "bit masks, dropout": Pull("tiny-bert", "full", 4, 64, {"bit_masks": True}, 0.97),
    "recompute all": Pull("tiny-bert", "full", 8, 64, {"recompute": 1}, 0.5),
    "recompute every second": Pull("tiny-bert", "full", 8, 64, {"recompute": 2}, 0.75),
    "recompute the first two": Pull("tiny-bert", "full", 8, 64, {"recompute_first": 2}, 0.8),
    "update in backward": Pull("tiny-bert", "full", 1, 4, {"update_in_backward": True}, 0.95),
    "bf16": Pull("tiny-bert", "full", 4, 64, {"weights": "bf16"}, 0.75),
    "bf16, convolutions": Pull("tiny-cnn", "full", 8, 16, {"weights": "bf16"}, 0.6),
    "frozen bf16": Pull("tiny-bert", "bias", 1, 4, {"weights": "frozen-bf16"}, 0.65),
    "frozen bf16, tied": Pull("tiny-llama", "lora", 1, 4, {"weights": "frozen-bf16"}, 0.55, Category.WEIGHTS),
    "nf4": Pull("tiny-bert", "lora", 1, 4, {"weights": "nf4"}, 0.75, Category.WEIGHTS),
    "nf4, weight asked for": Pull("tiny-llama", "dora", 2, 16, {"weights": "nf4"}, 0.7, Category.WEIGHTS),
    "frozen int8": Pull("tiny-bert", "lora", 1, 4, {"weights": "frozen-int8"}, 0.75, Category.WEIGHTS),
    "frozen int8, weight asked for": Pull(
        "tiny-llama", "dora", 2, 16, {"weights": "frozen-int8"}, 0.7, Category.WEIGHTS
    ),
    "prefix int8": Pull("tiny-bert", "last-blocks", 1, 4, {"weights": "prefix-int8"}, 0.75),
    "prefix int8, tied": Pull("tiny-llama", "last-blocks", 2, 16, {"weights": "prefix-int8"}, 0.92),
    "prefix bf16": Pull("tiny-bert", "last-blocks", 1, 4, {"weights": "prefix-bf16"}, 0.85),
    "prefix bf16, tied": Pull("tiny-llama", "last-blocks", 2, 16, {"weights": "prefix-bf16"}, 0.95),
    "prefix bf16, convolutions": Pull("tiny-cnn", "last-blocks", 8, 16, {"weights": "prefix-bf16"}, 0.9),
    "prefix bf16, patches": Pull("tiny-vit", "last-blocks", 2, None, {"weights": "prefix-bf16"}, 1.0),
    "chunked loss over a frozen bf16 table": Pull(
        "tiny-llama", "lora", 4, 64, {"chunked_loss": 32, "weights": "frozen-bf16"}, 0.5
    ),
    "all of a transformer": Pull(
        "tiny-llama", "lora", 4, 64,
        {"weights": "nf4", "chunked_loss": 32, "recompute": 2, "saved": "int8", "update_in_backward": True}, 0.35,
    ),
    "all of a net": Pull(
        "tiny-cnn", "full", 8, 16,
        {"channels_last": True, "bit_masks": True, "saved": "int8", "update_in_backward": True}, 0.45,
    ),
}  # fmt: skip


def _case(pull: Pull, settings: dict) -> Case:
    task = "pixels" if pull.model in ("tiny-cnn", "tiny-vit", "efficientnet-lite0") else "tokens"
    return Case(task, pull.model, pull.method, pull.batch, pull.length, settings=settings)


def _measured(case: Case):
    return measure(case.step(case.attached(weights=False)), case.example())


@needs_ledger
@pytest.mark.parametrize("name", PULLS)
def test_peak_falls_and_prediction_is_exact(name):
    pull = PULLS[name]
    case = _case(pull, pull.settings)
    predicted, measured = case.predict(fresh=True), _measured(case)
    assert predicted.peak - measured.peak == 0
    assert predicted.by_category == measured.by_category
    assert not [a for a in measured.assumptions if "rose" in a]
    bare = _measured(_case(pull, {}))
    now, before = (measured, bare) if pull.part is None else (measured.by_category, bare.by_category)
    now, before = (now.peak, before.peak) if pull.part is None else (now[pull.part], before[pull.part])
    assert now <= pull.most * before, f"{now / before:.3f} of {before}"


@pytest.mark.parametrize(
    ("model", "method", "settings"),
    [
        ("tiny-llama", "full", {"chunked_loss": 8}),
        ("tiny-cnn", "full", {"channels_last": True}),
        ("tiny-cnn", "full", {"bit_masks": True}),
        ("tiny-bert", "full", {"bit_masks": True}),
        ("tiny-bert", "lora", {"recompute": 1}),
        ("tiny-bert", "full", {"recompute_first": 1}),
        ("tiny-bert", "lora", {"update_in_backward": True}),
        ("tiny-llama", "full", {"recompute": 3, "chunked_loss": 8, "update_in_backward": True}),
    ],
)
def test_exact_levers_train_the_same_weights(model, method, settings):
    """Three steps of SGD with and without end in the same weights (channels-last sums in another order)."""
    ends = []
    for chosen in ({}, settings):
        case = Case("pixels" if model == "tiny-cnn" else "tokens", model, method, 4, 16)
        case = Case(case.task_name, model, method, 4, 16, settings={**chosen, "optimizer": "sgd", "lr": 0.05})
        attached = case.attached(weights=False)
        step, batch = case.step(attached), case.example()
        torch.manual_seed(3)
        for _ in range(3):
            step(batch)
        ends.append([p.detach() for p in attached.parameters() if p.requires_grad])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "method", "settings"),
    [
        ("tiny-bert", "full", {"saved": "int8"}),
        ("tiny-bert", "lora", {"saved": "static"}),
        ("tiny-cnn", "full", {"saved": "bf16"}),
        ("tiny-bert", "full", {"weights": "bf16"}),
        ("tiny-bert", "lora", {"weights": "nf4"}),
        ("tiny-llama", "lora", {"weights": "frozen-bf16"}),
        ("tiny-llama", "lora", {"weights": "frozen-int8"}),
        ("tiny-bert", "last-blocks", {"weights": "prefix-int8"}),
        ("tiny-cnn", "last-blocks", {"weights": "prefix-bf16"}),
    ],
)
def test_approximate_levers_still_learn(model, method, settings):
    given = {**settings, "optimizer": "adamw", "lr": 2e-3}
    case = Case("pixels" if model == "tiny-cnn" else "tokens", model, method, 8, 16, settings=given)
    torch.manual_seed(0)
    step, batch = case.step(case.attached(weights=False)), case.example()
    losses = [float(step(batch)) for _ in range(25)]
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3])


def test_levers_are_settings_of_every_method_and_off_by_default():
    off = Levers().model_dump()
    assert off == {
        "weights": "as-loaded",
        "prefix_cache": "none",
        "cached_examples": 1024,
        "saved": "as-is",
        "bit_masks": False,
        "statistics": "kept",
        "lean_frozen": False,
        "channels_last": False,
        "chunked_loss": 0,
        "recompute": 0,
        "recompute_first": 0,
        "update_in_backward": False,
        "executor": "eager",
        "gradient": "own",
        "probes": 1,
        "perturbation": 1e-3,
        "noise": "gaussian",
        "slope": "measured",
        "accept": "always",
        "scope": "together",
        "backprop_blocks": 0,
        "objective": "loss",
    }
    own = {
        "checkpointing": {"recompute": 1},
        "update-in-backward": {"update_in_backward": True},
        "mezo": {"gradient": "two-sided"},
        "zeroqat": {"gradient": "two-sided"},
        "zoodip": {"gradient": "one-sided", "probes": 2},
    }
    for method in methods:
        assert issubclass(method.Config, MethodConfig)
        config = method.configure()
        assert {n: getattr(config, n) for n in off} == {**off, **own.get(method.name, {})}, method.name
        assert set(off) <= {s.name for s in method.settings()}


@pytest.mark.parametrize(
    ("model", "method", "settings", "words"),
    [
        ("tiny-bert", "full", {"channels_last": True}, "two-dimensional convolutions"),
        ("tiny-vit", "full", {"channels_last": True}, "two-dimensional convolutions"),
        ("tiny-bert", "full", {"chunked_loss": 8}, "serves language models"),
        ("tiny-cnn", "full", {"recompute": 1}, "batch-norm statistics twice"),
        ("tiny-cnn", "full", {"recompute_first": 1}, "batch-norm statistics twice"),
        ("tiny-llama", "full", {"bit_masks": True}, "no ReLU, ReLU6 or active dropout"),
        ("tiny-bert", "full", {"weights": "nf4"}, "no linear weight of the model is frozen"),
        ("tiny-bert", "full", {"weights": "frozen-bf16"}, "is frozen"),
        ("tiny-bert", "full", {"weights": "frozen-int8"}, "is frozen"),
        ("tiny-bert", "full", {"weights": "prefix-int8"}, "nothing is frozen below"),
        ("tiny-llama", "lora", {"weights": "prefix-bf16"}, "nothing is frozen below"),
        ("tiny-cnn", "last-blocks", {"weights": "prefix-int8"}, "no float32 linear layer"),
        ("tiny-llama", "lora", {"saved": "static"}, "saved: 'static' .* no GELU"),
        ("tiny-bert", "mezo", {"saved": "int8"}, "nothing for a backward pass"),
        ("tiny-bert", "mezo", {"update_in_backward": True}, "nothing for a backward pass"),
        ("tiny-bert", "full", {"weights": "bf16", "saved": "bf16"}, "in bf16 already"),
        ("tiny-bert", "lora", {"gradient": "one-sided", "recompute": 1}, "nothing for a backward pass"),
    ],
)
def test_a_lever_that_does_not_apply_is_refused_in_a_sentence_before_anything_runs(model, method, settings, words):
    task = "pixels" if model in ("tiny-cnn", "tiny-vit") else "tokens"
    with pytest.raises(Incompatible, match=words) as refused:
        Case(task, model, method, 2, 16, settings=settings).predict()
    assert "\n" not in str(refused.value)


def test_update_in_backward_refuses_accumulation_for_every_method():
    with pytest.raises(Incompatible, match="drops each gradient"):
        Case("tokens", "tiny-bert", "lora", 2, 16, accumulate=2, settings={"update_in_backward": True})


@needs_ledger
@pytest.mark.parametrize(
    ("method", "settings"), [("checkpointing", {"recompute": 1}), ("update-in-backward", {"update_in_backward": True})]
)
def test_the_methods_of_that_name_are_full_fine_tuning_with_the_lever(method, settings):
    named = Case("tokens", "tiny-bert", method, 4, 32).predict()
    pulled = Case("tokens", "tiny-bert", "full", 4, 32, settings=settings).predict()
    assert named == pulled
