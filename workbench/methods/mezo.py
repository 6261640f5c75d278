"""MeZO: forward-only fine-tuning by two-sided simultaneous perturbation."""

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
    eps: float = setting(1e-3, "size of the perturbation", gt=0, le=1)
    probes: int = setting(1, "perturbations averaged per step", ge=1, le=1024)
    noise: Literal["gaussian", "sign"] = setting("gaussian", "standard normal, or plus and minus ones")


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
        from workbench.parts.estimator.zeroth_order import ZerothOrder
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        estimator = ZerothOrder(config.eps, config.probes, config.noise)
        return Parts(All(), estimator, named(config.optimizer), AsLoaded(), per_parameter=True)
