"""What a contract check looks at: one method on one tiny model, built the same way every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.core.seeds import derive
from workbench.methods.base import methods
from workbench.models import resolve

if TYPE_CHECKING:
    from torch import nn

    from workbench.methods.base import Method
    from workbench.parts.base import TrainingStep
    from workbench.tasks.base import Batch

#: Tiny models made from configuration, each with the task that gives it batches without data.
TINY: Mapping[str, str] = {
    "tiny-bert": "tokens",
    "tiny-llama": "tokens",
    "tiny-cnn": "pixels",
    "tiny-vit": "pixels",
    "tiny-sensor": "pixels",
    "tiny-denoiser": "new-digit",
}

#: Defaults that are made for wide models, made to fit a width of 64; and rates that are too bold there.
FITTING: Mapping[str, Mapping[str, Any]] = {
    "c3a": {"block_size": 16},
    "vblora": {"vector_length": 32, "num_vectors": 32},
    "waveft": {"n_frequency": 256},
    "shira": {"r": 4},
    "road": {"group_size": 32},
}


@dataclass(frozen=True)
class Subject:
    """One method on one tiny model. ``settings`` differ from the defaults only where those need a wider model."""

    method_name: str
    model_name: str = "tiny-bert"
    settings: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 4

    @property
    def method(self) -> Method:
        found: Method = methods.get(self.method_name)
        return found

    @cached_property
    def case(self) -> Case:
        task = TINY.get(self.model_name, "pixels")
        length = 16 if task == "tokens" else None
        return Case(task, self.model_name, self.method_name, self.batch, length, settings=self.settings)

    def with_batch(self, batch: int) -> Subject:
        return replace(self, batch=batch)

    def examples(self) -> list[Batch]:
        """One fixed batch; synthetic, so that no check needs data."""
        return self.case.example()

    def attached(self, *, method_seed: int = 0) -> nn.Module:
        """The method on the model; the model is the same whatever ``method_seed`` says, as a checkpoint would be."""
        import torch

        case = self.case
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(0, "model"))
            model = case.spec.build(case.task.classes(case.spec), weights=True, seed=derive(0, "head"))
            model.pintpot_kind = case.spec.kind  # type: ignore[assignment]
            torch.manual_seed(derive(method_seed, "method"))
            attached = self.method.attach(model, case.config)
        attached.train()
        return attached

    def trained(self, model: nn.Module, steps: int, lr: float | None = None) -> tuple[TrainingStep, list[float]]:
        """The training step after ``steps`` steps on the fixed batch, and the loss of each."""
        import torch

        step = self.case.step(model)
        if lr is not None:
            step.set_lr(lr)
        batch = self.examples()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(0, "noise"))
            losses = [float(step(batch, seed=derive(0, "step", i))) for i in range(steps)]
        return step, losses


def subject_of(method: str, models: tuple[str, ...] = tuple(TINY)) -> Subject | None:
    """The method on the first tiny model it says it serves; ``None`` when it serves none of them."""
    for name in models:
        if methods.get(method).applies_to(resolve(name)) is None:
            return Subject(method, name, FITTING.get(method, {}))
    return None
