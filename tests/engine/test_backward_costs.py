"""What a choice of tensors costs is what torch's own counter counts in the step that trains them."""

from __future__ import annotations

import random

import pytest
from torch.utils.flop_counter import FlopCounterMode

from workbench.engine.backward_costs import backward_costs
from workbench.engine.capture import capture
from workbench.engine.prune import prune
from workbench.testing import Subject


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-vit", "tiny-cnn", "tiny-sensor"])
def test_counted_costs_are_those_of_the_running_step(model: str) -> None:
    subject = Subject("full", model)
    attached, batch, loss_of = subject.attached(), subject.examples()[0], subject.case.task.loss
    costs = backward_costs(prune(capture(attached, loss_of, batch)))
    generator, tensors = random.Random(0), dict(attached.named_parameters())
    assert set(costs.names) == set(tensors)
    for size in (1, 1, 2, 3, 5, 9, 20, len(costs.names)):
        chosen = generator.sample(costs.names, min(size, len(costs.names)))
        for name, parameter in tensors.items():
            parameter.requires_grad_(name in chosen)
        with FlopCounterMode(display=False) as forward:
            loss = loss_of(attached, batch)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
        assert forward.get_total_flops() == costs.forward
        assert backward.get_total_flops() == costs.of(chosen)
        places = [costs.names.index(name) for name in chosen]
        bound = sum(costs.own[i] for i in places) + max(costs.path[i] for i in places)
        assert costs.of(chosen) <= bound <= 1.05 * costs.of(chosen) + 1e6
    assert costs.of(costs.names) == costs.backward
    assert list(costs.path) == sorted(costs.path)


def test_a_tied_output_layer_costs_the_whole_way_down() -> None:
    """Its weight is the embedding's: a selector that takes it for the cheapest tensor of all passes every target."""
    subject = Subject("full", "tiny-llama")
    costs = backward_costs(prune(capture(subject.attached(), subject.case.task.loss, subject.examples()[0])))
    tied = costs.names.index("model.embed_tokens.weight")
    assert costs.own[tied] > 0 and costs.path[tied] == max(costs.path)
