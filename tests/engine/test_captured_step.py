"""The captured step is the eager step: same losses, same gradients, same weights, and its bytes are predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from workbench.case import Case
from workbench.engine.race import difference, seen
from workbench.memory.measure import measure
from workbench.parts.base import TrainingStep
from workbench.testing import Subject

CASES = (
    ("tokens", "tiny-bert", "full", 4, 16),
    ("tokens", "tiny-bert", "last-blocks", 4, 16),
    ("tokens", "tiny-bert", "bias", 4, 16),
    ("tokens", "tiny-bert", "lora", 4, 16),
    ("tokens", "tiny-llama", "full", 2, 16),
    ("tokens", "tiny-llama", "dora", 2, 16),
    ("pixels", "tiny-cnn", "full", 4, None),
    ("pixels", "tiny-cnn", "bias", 4, None),
    ("pixels", "tiny-vit", "last-blocks", 4, None),
    ("pixels", "tiny-sensor", "full", 4, None),
)


def stepping(case: Case) -> TrainingStep:
    torch.manual_seed(0)
    return case.step(case.attached(weights=False))


def case_of(given: tuple[Any, ...], settings: Mapping[str, Any] | None = None, accumulate: int = 1) -> Case:
    task, model, method, batch, length = given
    return Case(task, model, method, batch, length, accumulate, settings=settings or {})


def losses(step: TrainingStep, batches: list[Any], steps: int = 4) -> list[float]:
    found = []
    for index in range(steps):
        torch.manual_seed(index)
        step.set_lr(1e-3 * (index + 1))
        found.append(float(step(batches, seed=index)))
    return found


@pytest.mark.parametrize("given", CASES, ids=lambda g: f"{g[1]}-{g[2]}")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "momentum"])
def test_losses_and_weights_equal_eager(given: tuple[Any, ...], optimizer: str) -> None:
    """Dropout included: the graph draws the same random numbers in the same order."""
    eager, graph = (
        stepping(case_of(given, {"optimizer": optimizer, "executor": executor})) for executor in ("eager", "graph")
    )
    batches = case_of(given).example()
    assert losses(eager, batches) == losses(graph, batches)
    assert graph.parts.estimator.notes == []
    ours = {**dict(graph.model.named_parameters()), **dict(graph.model.named_buffers())}
    for name, tensor in [*eager.model.named_parameters(), *eager.model.named_buffers()]:
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("given", CASES, ids=lambda g: f"{g[1]}-{g[2]}")
def test_predicted_bytes_are_measured(given: tuple[Any, ...]) -> None:
    case = case_of(given, {"executor": "graph"})
    predicted, step = case.predict(), stepping(case)
    measured = measure(step, case.example())
    assert step.parts.estimator.notes == []
    assert predicted.peak == measured.peak, (predicted.by_category, measured.by_category)
    assert predicted.by_category == measured.by_category


def test_micro_batches_accumulate() -> None:
    given = ("tokens", "tiny-bert", "last-blocks", 2, 16)
    eager, graph = (stepping(case_of(given, {"executor": e}, accumulate=3)) for e in ("eager", "graph"))
    batches = case_of(given, accumulate=3).example()
    batches = [{**b, "labels": (b["labels"] + i) % 2} for i, b in enumerate(batches)]
    torch.testing.assert_close(losses(eager, batches), losses(graph, batches), rtol=1e-6, atol=0)
    for ours, theirs in zip(graph.parameters, eager.parameters):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        assert ours.grad is None


def test_padding_and_other_shapes_stay_right() -> None:
    """A graph captured on one batch serves every mask of its shape; another shape gets a graph of its own."""
    given = ("tokens", "tiny-bert", "last-blocks", 4, 16)
    eager, graph = (stepping(case_of(given, {"executor": e})) for e in ("eager", "graph"))
    full, small = case_of(given).example()[0], case_of(("tokens", "tiny-bert", "full", 3, 12)).example()[0]
    padded = {**full, "attention_mask": full["attention_mask"].clone()}
    padded["attention_mask"][1, 5:] = 0
    padded["attention_mask"][3, 9:] = 0
    for batch in (full, padded, small, full, padded):
        assert losses(eager, [batch], 1) == losses(graph, [batch], 1)
    assert len(graph.parts.estimator._captured) == 2


def test_a_step_that_asks_for_values_runs_eagerly() -> None:
    given = ("tokens", "tiny-bert", "full", 2, 8)
    eager, graph = (stepping(case_of(given, {"executor": e})) for e in ("eager", "graph"))
    for step in (eager, graph):
        plain = step.loss_of
        step.loss_of = lambda model, batch, plain=plain: (
            plain(model, batch) * (2.0 if batch["labels"].sum() > 99 else 1)
        )
    batches = case_of(given).example()
    assert losses(eager, batches) == losses(graph, batches)
    assert len(graph.parts.estimator.notes) == 1
    assert "captured" in graph.parts.estimator.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        ("tokens", "minilm", "last-blocks", 1, 32),
        ("tokens", "minilm", "full", 2, 32),
        ("tokens", "smollm2", "last-blocks", 1, 16),
        ("pixels", "efficientnet-lite0", "last-blocks", 2, 96),
        ("pixels", "dinov2-small", "full", 1, 70),
    ],
    ids=lambda g: f"{g[1]}-{g[2]}",
)
def test_gradients_of_large_models_equal_eager(given: tuple[Any, ...]) -> None:
    """Loss, every gradient and every moved buffer to 1e-5 of their norms, as the race asks for."""
    batches, found = case_of(given).example(), []
    for executor in ("eager", "graph"):
        step = stepping(case_of(given, {"executor": executor}))
        torch.manual_seed(0)
        found.append(seen(step, lambda step=step: step(batches), {}, executor))
        assert getattr(step.parts.estimator, "notes", []) == []
    assert difference(*found) is None
    test_predicted_bytes_are_measured(given)


@pytest.mark.parametrize("method", ["prompt-tuning", "adamss", "fourierft"])
def test_adapters_that_bring_constants_are_captured(method) -> None:
    subjects = [Subject(method, "tiny-bert", {"executor": name}) for name in ("eager", "graph")]
    (_, eager), (step, graph) = (subject.trained(subject.attached(), 3) for subject in subjects)
    assert eager == graph
    assert step.parts.estimator.notes == []


def test_a_method_that_changes_gradients_by_hooks_runs_eagerly_and_says_so() -> None:
    subject = Subject("osf", "tiny-bert", {"executor": "graph"})
    step, losses = subject.trained(subject.attached(), 3)
    plain = Subject("osf", "tiny-bert")
    assert losses == plain.trained(plain.attached(), 3)[1]
    assert "a hook changes the gradient" in step.parts.estimator.notes[0]


def test_other_frozen_tensors_make_another_graph() -> None:
    """Weights that are put in place of the old ones, as assigning a state dict does, are the ones that count."""
    losses = []
    for executor in ("eager", "graph"):
        subject = Subject("last-blocks", "tiny-bert", {"executor": executor, "blocks": 1})
        model = subject.attached()
        step, _ = subject.trained(model, 1)
        frozen = {n: p for n, p in model.named_parameters() if not p.requires_grad}
        model.load_state_dict({n: p.detach() * 1.5 for n, p in frozen.items()}, strict=False, assign=True)
        for name in frozen:
            model.get_parameter(name).requires_grad_(False)
        torch.manual_seed(3)
        losses.append(float(step(subject.examples(), seed=9)))
    assert losses[0] == losses[1]
