"""Natural GaLore: GaLore with an inverse empirical Fisher of recent gradients inside the subspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts


class NaturalGaLoreConfig(MethodConfig):
    optimizer: Literal["adamw", "adamw8bit", "momentum", "sgd"] = setting("adamw", "update rule inside the subspace")
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    rank: int = setting(16, "dimension of the subspace; smaller matrices are not projected", ge=1, le=2**16)
    interval: int = setting(200, "steps between refreshes of the subspace", ge=1, le=10**6, unit="steps")
    scale: float = setting(4.0, "factor on the projected update", gt=0, le=1000)
    refresh: Literal["iteration", "svd"] = setting(
        "iteration", "how the subspace is found: one warm-started subspace iteration, or a full SVD as in the paper"
    )
    history: int = setting(20, "projected gradients that are kept, the current one included", ge=1, le=1000)
    damping: float = setting(1e-3, "what is added to the Fisher's diagonal; large damping is GaLore", gt=0, le=1e12)


@register
class NaturalGaLoreMethod(Method):
    name = "natural-galore"
    card = Card(
        title="Natural GaLore",
        family="low-state",
        paper="Natural GaLore: Accelerating GaLore for memory-efficient LLM Training and Fine-tuning (2024)",
        summary="GaLore with each projected gradient preconditioned by the inverse empirical Fisher of the last few.",
        saves="Less than GaLore: the history of projected gradients is optimizer state too, ten moments' worth at 20.",
        when="Steps are dearer than optimizer state; a short history keeps most of what GaLore saves.",
        equation="g <- (I + H H^T / damping)^-1 g for g = vec(G Q), H the last projected gradients; then GaLore",
    )
    Config = NaturalGaLoreConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3}

    def parts(self, config: NaturalGaLoreConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer.natural_galore import NaturalGaLore
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        rule = NaturalGaLore(
            config.rank, config.interval, config.scale, config.optimizer, config.refresh,
            config.history, config.damping,
        )  # fmt: skip
        return Parts(All(), Backprop(), rule, AsLoaded())
