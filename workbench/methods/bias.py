"""BitFit: train additive terms only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class BiasConfig(MethodConfig):
    lr: float = setting(2e-3, "peak learning rate", gt=0, le=10)


@register
class BiasOnly(Method):
    name = "bias"
    card = Card(
        title="Bias only (BitFit)",
        family="partial",
        paper="BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models (2022)",
        summary="Train every bias and the head; weights stay frozen.",
        saves="Gradients, optimizer state and the inputs of linear layers; norms and nonlinearities still keep theirs.",
        when="A tiny update to ship, memory close to the activations of the nonlinearities.",
        equation="only b <- b - lr * u(dL/db)",
    )
    Config = BiasConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.config.get("model_type") == "llama" and not model.config.get("attention_bias"):
            return f"no layer of {model.name} has a bias"
        return super().applies_to(model)

    def parts(self, config: BiasConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.bias import Bias
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(Bias(), Backprop(), named(config.optimizer), AsLoaded())
