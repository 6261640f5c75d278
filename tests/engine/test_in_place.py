"""Writing over an input never changes a value that somebody still reads, whatever rewrote the graph before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.engine.capture import capture
from workbench.engine.executor import GraphExecutor
from workbench.engine.prune import prune
from workbench.engine.schedule import schedule, storages

aten = torch.ops.aten


class Twice(nn.Module):
    """One value computed twice; the second is looked at through a view while the first is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, 12).view(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = self.weight * x + 1.0
        first, second = inside.rsqrt(), inside.rsqrt()
        looking = second.view(-1)
        changed = first + 1.0
        return (changed.view(-1) * looking).sum()


def loss_of(model, batch):
    return model(batch["x"])


@pytest.mark.parametrize("merged", [False, True])
def test_a_view_of_a_merged_value_is_known_to_look_at_what_is_left(merged) -> None:
    model, batch = Twice(), {"x": torch.linspace(1.0, 3.0, 12).view(3, 4)}
    expected = loss_of(model, batch)
    expected.backward()
    joint = prune(capture(model, loss_of, batch))
    if merged:
        first, second = [n for n in joint.graph.nodes if n.target is aten.rsqrt.default][:2]
        joint.replace(second, first)
        joint.graph.eliminate_dead_code()
        [view] = [n for n in first.users if getattr(n.target, "is_view", False)]
        assert storages(view) == storages(first)
    found = {}
    loss = GraphExecutor(schedule(joint), model)(batch, lambda p, g: found.update(gradient=g.clone()))
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(found["gradient"], model.weight.grad)
