"""MobileTL: inverted residuals whose inner norms train their shift only and whose activations keep one bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class MobileTLConfig(MethodConfig):
    lr: float = setting(1e-3, "peak learning rate", gt=0, le=10)
    blocks: int = setting(3, "how many of the deepest blocks train", ge=0, le=200, unit="blocks")
    threshold: float = setting(0.0, "where the derivative of hard-swish is taken to jump from 0 to 1", ge=-3, le=3)
    compute: Literal["lean", "requires-grad"] = setting(
        "lean", "norms and activations of its own; or (lazy) torch's, told not to train, which keep their whole input"
    )


@register
class MobileTL(Method):
    name = "mobile-tl"
    card = Card(
        title="MobileTL",
        family="sparse",
        paper="MobileTL: On-device Transfer Learning with Inverted Residual Blocks (2023)",
        summary="The last blocks train; their inner norms only the shift, their activations keep one bit an element.",
        saves="Saved maps of inner norms, and 31 of 32 bits of activations; inputs of trained convolutions stay, and "
        "nothing is kept below the first trained block.",
        when="A net of inverted residuals is tuned on a device and its maps are what does not fit.",
        equation="y = a x + c, a constant: dL/dc = sum dL/dy, dL/dx = a dL/dy; act: dL/dx = m dL/dy, m in {0, 1}",
    )
    Config = MobileTLConfig
    lr_by_kind = {"sensor-classifier": 3e-3}

    def applies_to(self, model: ModelSpec) -> str | None:
        found = model.config.get("model_type", model.kind)
        if found != "efficientnet-lite":
            return f"it trains shifts of norms inside inverted residuals; {model.name}, a {found} model, has none"
        return super().applies_to(model)

    def parts(self, config: MobileTLConfig) -> Parts:
        from workbench.parts.base import Parts, Storage
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.shift_only_blocks import ShiftOnlyBlocks
        from workbench.parts.storage.as_loaded import AsLoaded
        from workbench.parts.storage.gated_activations import GatedActivations

        lean = config.compute == "lean"
        selection = ShiftOnlyBlocks(config.blocks, lean)
        storage: Storage = GatedActivations(config.threshold) if lean else AsLoaded()
        return Parts(selection, Backprop(), named(config.optimizer), storage)
