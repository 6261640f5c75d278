"""SlimFit: each step only the layers that moved most train, and what backward reads of the others is packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.errors import BadInput
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

_CONVOLUTIONAL = ("efficientnet-lite", "convolution-1d")


class SlimFitConfig(MethodConfig):
    lr: float = setting(5e-4, "peak learning rate", gt=0, le=10)
    frozen: float = setting(0.95, "share of the layers that is frozen in each step", ge=0, le=0.99)
    packed: bool = setting(True, "pack what backward reads whatever trains: GELU, attention, norms, a wide input")
    keep: float = setting(0.1, "share of a frozen norm's values that is kept, the largest ones", gt=0, le=1)
    select: Literal["dynamics", "random", "last"] = setting(
        "dynamics", "which layers train: those that moved most, others by chance each step, or always the last ones"
    )
    gradients: Literal["chosen", "all"] = setting(
        "chosen", "which gradients are computed: the chosen ones, or (lazy) all, masked afterwards, which saves nothing"
    )


@register
class SlimFit(Method):
    name = "slimfit"
    card = Card(
        title="SlimFit",
        family="sparse",
        paper="SlimFit: Memory-Efficient Fine-Tuning of Transformer-based Models Using Training Dynamics (2023)",
        summary="Each step trains the few layers that moved most; activations that backward reads anyway are packed.",
        saves="Inputs and gradients of frozen layers; GELU to 4 bits, attention to 8, frozen norms to a tenth. "
        "Optimizer state grows to full tuning's as each layer gets its turn.",
        when="A transformer is tuned at a large batch, and saved activations are what does not fit.",
        equation="d_j = mean |(w_j - w_j') / w_j'|; train the layers of largest d_j, refresh theirs alone",
    )
    Config = SlimFitConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.config.get("model_type") in _CONVOLUTIONAL:
            return f"{self.card.title} packs attention, GELU and layer norms of a transformer; {model.name} is none"
        activation = model.config.get("hidden_act", "silu" if model.kind == "causal-lm" else "gelu")
        if activation != "gelu":
            return f"{self.card.title} has formats for GELU and layer norms; {model.name} has {activation}"
        return super().applies_to(model)

    def refuses(self, model: ModelSpec, config: SlimFitConfig) -> str | None:
        if config.packed and config.saved != "as-is":
            return f"saved={config.saved} would pack what is packed already; set packed=false or saved=as-is"
        return super().refuses(model, config)

    def parts(self, config: SlimFitConfig) -> Parts:
        from workbench.parts.base import Parts, Storage
        from workbench.parts.estimator.dynamics import Dynamics
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded
        from workbench.parts.storage.packed_static import PackedStatic

        storage: Storage = PackedStatic(config.keep) if config.packed else AsLoaded()
        estimator = Dynamics(config.frozen, config.select, config.gradients == "chosen")
        return Parts(All(), estimator, named(config.optimizer), storage)

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """Every tensor that trained at some time."""
        from workbench.parts.estimator.dynamics import UNSEEN, distances, layers

        never = {n for n, d in zip(layers(model), distances(model)) if d >= UNSEEN}
        return {n: t for n, t in super().adapter_state(model).items() if n not in never}

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        if not state:
            raise BadInput("adapter", "nothing", "the tensors of a model that has trained for a step at least")
        super().load_adapter(model, state)
