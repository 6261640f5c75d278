"""GaLore: full fine-tuning whose optimizer state lives in a low-rank subspace of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class GaLoreConfig(MethodConfig):
    optimizer: Literal["adamw", "adamw8bit", "momentum", "sgd"] = setting("adamw", "update rule inside the subspace")
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    rank: int = setting(16, "dimension of the subspace; smaller matrices are not projected", ge=1, le=2**16)
    interval: int = setting(200, "steps between refreshes of the subspace", ge=1, le=10**6, unit="steps")
    scale: float = setting(4.0, "factor on the projected update", gt=0, le=1000)
    refresh: Literal["iteration", "svd"] = setting(
        "iteration", "how the subspace is found: one warm-started subspace iteration, or a full SVD as in the paper"
    )


@register
class GaLoreMethod(Method):
    name = "galore"
    card = Card(
        title="GaLore",
        family="low-state",
        paper="GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection (2024)",
        summary="Train every parameter, with the optimizer's state in a low-rank subspace of each matrix's gradient.",
        saves="Optimizer state: rank by longer side for each moment, and a basis; gradients and activations stay.",
        when="Optimizer state binds the peak and every weight must train; with updates in backward gradients go too.",
        equation="R = G Q;  W <- W - lr * scale * adam(R) Q^T;  Q from G every so many steps",
    )
    Config = GaLoreConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3}

    def parts(self, config: GaLoreConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer.galore import GaLore
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        rule = GaLore(config.rank, config.interval, config.scale, config.optimizer, config.refresh)
        return Parts(All(), Backprop(), rule, AsLoaded())
