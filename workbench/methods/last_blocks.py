"""Train the last k blocks and the head; autograd keeps nothing below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class LastBlocksConfig(MethodConfig):
    lr: float = setting(2e-4, "peak learning rate", gt=0, le=10)
    blocks: int = setting(2, "how many of the deepest blocks train", ge=0, le=200, unit="blocks")


@register
class LastBlocksOnly(Method):
    name = "last-blocks"
    card = Card(
        title="Last k blocks",
        family="partial",
        paper="standard practice; the depth-limited limit of sparse backpropagation",
        summary="Train the deepest k blocks, what follows them, and the head.",
        saves="All activations, gradients and optimizer state below the first trained block.",
        when="A good default under a budget: less memory and less time at once.",
        equation="dL/dw_j computed only for blocks j > L - k",
    )
    Config = LastBlocksConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3}

    def parts(self, config: LastBlocksConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.last_blocks import LastBlocks
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(LastBlocks(config.blocks), Backprop(), named(config.optimizer), AsLoaded())
