"""Full fine-tuning whose updates happen inside backward: one gradient alive at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class UpdateInBackwardConfig(MethodConfig):
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    update_in_backward: Literal[True] = setting(True, "what this method is: full fine-tuning with this lever")


@register
class UpdateInBackwardMethod(Method):
    name = "update-in-backward"
    card = Card(
        title="Update in backward",
        family="recompute",
        paper="Full Parameter Fine-tuning for Large Language Models with Limited Resources (LOMO, 2023)",
        summary="Apply each update as soon as its gradient is ready and drop the gradient.",
        saves="Gradients, down to the largest single one; activations and optimizer state stay.",
        when="Gradients dominate the peak (small batches, or together with checkpointing); useless alone otherwise.",
        equation="same update as full fine-tuning",
    )
    Config = UpdateInBackwardConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3, "image-denoiser": 5e-3}

    def parts(self, config: UpdateInBackwardConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(All(), Backprop(), named(config.optimizer), AsLoaded())
