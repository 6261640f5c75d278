"""Linear probe: the pretrained body is a fixed feature extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class HeadConfig(MethodConfig):
    lr: float = setting(1e-2, "peak learning rate", gt=0, le=10)


@register
class HeadOnly(Method):
    name = "head"
    card = Card(
        title="Head only",
        family="partial",
        paper="linear probing, standard practice",
        summary="Train the output layer on frozen features.",
        saves="Gradients, optimizer state and every activation of the body; weights stay.",
        when="The features already fit the task, or nothing else fits the budget.",
        equation="only w_head <- w_head - lr * u(dL/dw_head)",
    )
    Config = HeadConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.writes:
            own = "its own output layer, often its input embedding"
            return f"{model.name} writes with {own}, so there is no fresh head to train"
        return super().applies_to(model)

    def parts(self, config: HeadConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.head import Head
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(Head(), Backprop(), named(config.optimizer), AsLoaded())
