"""What forgetting the noise saves: the peak of a step that draws it anew from seeds, beside steps that keep it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.core.errors import Incompatible
from workbench.core.units import format_size
from workbench.parts.base import TrainingStep
from workbench.parts.estimator.stored_noise import StoredNoise
from workbench.parts.estimator.zeroth_order import ZerothOrder

if TYPE_CHECKING:
    from torch import nn

    from workbench.case import Case

SHARE = 0.1  #: elements that the kept mask leaves


@dataclass(frozen=True)
class KeptNoise:
    """Peak of one step in bytes, predicted on fake tensors and measured; ``inference``: of one forward, measured."""

    way: str
    predicted: int
    measured: int
    inference: int

    def row(self) -> dict[str, str]:
        """The arm as a line of a table."""
        return {
            "Noise": self.way,
            "Peak, measured": format_size(self.measured),
            "Over inference": f"{self.measured / self.inference - 1:+.1%}",
            "Predicted less measured": f"{self.predicted - self.measured:+,} B",
        }


def kept_noise(case: Case) -> list[KeptNoise]:
    """Noise from its seed, noise kept, and noise kept with a mask; ``case`` takes two-sided slopes of its weights."""
    from workbench.memory.measure import measure
    from workbench.memory.predict import predict

    own = case.attached().pintpot_parts.estimator  # type: ignore[union-attr]
    if type(own) is not ZerothOrder or not own.two_sided:
        raise Incompatible("gradient", case.config.gradient, "this asks for two-sided slopes of all weights at once")
    stored = StoredNoise(own.probes, own.noise, own.eps)
    ways = {
        "drawn anew from its seed": own,
        "kept (lazy)": stored,
        f"kept, with a kept mask of {SHARE:.0%} (lazy)": replace(stored, share=SHARE),
    }
    inference = _inference(case)

    def step_of(model: nn.Module, estimator: ZerothOrder) -> TrainingStep:
        parts = replace(model.pintpot_parts, estimator=estimator)  # type: ignore[type-var]
        return TrainingStep(model, parts, case.task.loss, float(case.config.lr))

    return [
        KeptNoise(
            way,
            predict(
                lambda: case.attached(device="meta", weights=False),
                lambda model, estimator=estimator: step_of(model, estimator),  # type: ignore[misc]
                case.example,
            ).peak,
            measure(step_of(case.attached(), estimator), case.example()).peak,
            inference,
        )
        for way, estimator in ways.items()
    ]


def _inference(case: Case) -> int:
    """Peak of one forward without gradients, with the weights."""
    import torch

    from workbench.memory.measure import measure

    class Forward(TrainingStep):
        def __call__(self, batches: object, seed: int | None = None) -> torch.Tensor:
            with torch.no_grad():
                return self.loss_of(self.model, batches if isinstance(batches, dict) else batches[0])  # type: ignore[index]

    model = case.attached().eval()
    return measure(Forward(model, model.pintpot_parts, case.task.loss, 0.0), case.example()).peak  # type: ignore[arg-type]
