"""Full fine-tuning: every parameter trains. The reference every other method is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class FullConfig(MethodConfig):
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)


@register
class Full(Method):
    name = "full"
    card = Card(
        title="Full fine-tuning",
        family="reference",
        paper="standard practice",
        summary="Train every parameter by backpropagation.",
        saves="Nothing: weights, gradients, optimizer state and saved activations are all at their most.",
        when="The accuracy to beat, and the peak to stay under.",
        equation="w <- w - lr * u(dL/dw)",
    )
    Config = FullConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3, "image-denoiser": 5e-3}

    def parts(self, config: FullConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(All(), Backprop(), named(config.optimizer), AsLoaded())
