"""MeZO: full fine-tuning with the gradient lever on, so that every step is two forwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, OptimizerName, optimizer_rules, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class MeZOConfig(MethodConfig):
    optimizer: OptimizerName = setting("sgd", "update rule", choices=optimizer_rules())
    lr: float = setting(1e-5, "peak learning rate", gt=0, le=10)
    gradient: Literal["two-sided", "one-sided", "forward"] = setting(
        "two-sided", "slope along random noise: by differences or exactly, with forward-mode differentiation"
    )


@register
class MeZO(Method):
    name = "mezo"
    card = Card(
        title="MeZO (zeroth-order SGD)",
        family="forward-only",
        paper="Fine-Tuning Language Models with Just Forward Passes (2023)",
        summary="Estimate the gradient from two forward passes along a random direction regenerated from its seed.",
        saves="Gradients, optimizer state and all saved activations: training at nearly inference memory.",
        when="Nothing with a backward pass fits, and many cheap steps are affordable.",
        equation="g = (L(w + eps z) - L(w - eps z)) / (2 eps);  w <- w - lr g z",
    )
    Config = MeZOConfig

    def parts(self, config: MeZOConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        # The estimator is the gradient lever's, which this method has on.
        return Parts(All(), Backprop(), named(config.optimizer), AsLoaded())
