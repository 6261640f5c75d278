"""Loss and metric shared by every task that gives one label per example."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench.tasks.base import Batch, Metrics, Task, TaskData

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from workbench.models.base import ModelSpec

MASK = "every label"


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; dropout is off and batch norms use running statistics."""
    import torch

    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def label_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy of one label per example."""
    from torch.nn.functional import cross_entropy

    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return cross_entropy(model(**inputs).logits, batch["labels"])


def label_error(model: nn.Module, batch: Batch) -> Tensor:
    """Share of examples whose label is not the likeliest one."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return (model(**inputs).logits.argmax(-1) != batch["labels"]).float().mean()


class Classification(Task):
    """Cross-entropy over classes; the metric is accuracy on the held-out examples."""

    metric = "accuracy"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return label_loss(model, batch)

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return label_error(model, batch)

    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 32) -> Metrics:
        from torch.nn.functional import cross_entropy

        device = next(model.parameters()).device
        right, loss, counts = 0, 0.0, {}
        with evaluating(model):
            for start in range(0, len(data.test), batch):
                made = self.collate(data.test[start : start + batch], spec)
                tensors = {name: value.to(device) for name, value in made.items()}
                labels: Any = tensors.pop("labels")
                logits = model(**tensors).logits.float()
                right += int((logits.argmax(-1) == labels).sum())
                loss += float(cross_entropy(logits, labels, reduction="sum"))
                for label in labels.tolist():
                    counts[label] = counts.get(label, 0) + 1
        count = len(data.test)
        details = {"loss": loss / count, "majority": max(counts.values()) / count}
        return Metrics(self.metric, right / count, count, details)
