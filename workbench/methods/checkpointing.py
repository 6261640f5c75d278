"""Full fine-tuning with activation checkpointing: trade one more forward for saved activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods._levers import refusal
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class CheckpointingConfig(MethodConfig):
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    recompute: int = setting(1, "recompute every n-th block in backward", ge=1, le=200, unit="blocks")


@register
class Checkpointing(Method):
    name = "checkpointing"
    card = Card(
        title="Activation checkpointing",
        family="recompute",
        paper="Training Deep Nets with Sublinear Memory Cost (2016)",
        summary="Keep only block inputs; recompute the rest during backward.",
        saves="Saved activations down to the block inputs; weights, gradients and optimizer state stay.",
        when="Activations bind, the exact full fine-tuning result is wanted, and a third more compute is fine.",
        equation="same gradient as full fine-tuning",
    )
    Config = CheckpointingConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3, "image-denoiser": 5e-3}

    def applies_to(self, model: ModelSpec) -> str | None:
        return refusal(self.Config(), model)

    def parts(self, config: CheckpointingConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(All(), Backprop(), named(config.optimizer), AsLoaded())
