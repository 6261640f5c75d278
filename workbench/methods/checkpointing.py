"""Full fine-tuning with activation checkpointing: trade one more forward for saved activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class CheckpointingConfig(MethodConfig):
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    every: int = setting(1, "recompute every n-th block", ge=1, le=200, unit="blocks")


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

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.kind in ("image-classifier", "sensor-classifier") and "transformer" not in model.doc.lower():
            if model.config.get("model_type") in ("vit", "dinov2"):
                return None
            return (
                f"recomputing a block of {model.name} would update its batch-norm statistics twice, "
                "so the result would not be full fine-tuning's"
            )
        return super().applies_to(model)

    def parts(self, config: CheckpointingConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.checkpointed import Checkpointed
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(All(), Checkpointed(config.every), named(config.optimizer), AsLoaded())
