"""GreenTrainer: which tensors train is chosen anew each epoch, so that a step keeps a share of full tuning's work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.errors import BadInput
from workbench.methods.base import Method, MethodConfig, moving_statistics, register

if TYPE_CHECKING:
    from torch import nn

    from workbench.parts.base import Parts


class GreenTrainerConfig(MethodConfig):
    lr: float = setting(1e-4, "peak learning rate", gt=0, le=10)
    rho: float = setting(0.5, "operations of a step as a share of full tuning's", gt=0, le=1)
    interval: int = setting(1, "epochs between choices; 0: choose once", ge=0, le=10**6, unit="epochs")
    select: Literal["importance", "random", "last"] = setting(
        "importance", "what is chosen: what a trial step finds most important, random tensors, or the last ones"
    )
    units: int = setting(20_000, "units that the budget is divided into; the paper takes 1000", ge=10, le=10**6)
    costs: Literal["path", "own"] = setting(
        "path",
        "what a tensor costs: with the way down to it, or (lazy) its own gradient alone, which passes the target",
    )
    spare: Literal["fill", "leave"] = setting(
        "fill", "what of the target no important tensor takes: spent on those of least harm, or left as in the paper"
    )
    gradients: Literal["chosen", "all"] = setting(
        "chosen", "which gradients are computed: the chosen ones, or (lazy) all, masked afterwards, which saves nothing"
    )


@register
class GreenTrainer(Method):
    name = "green-trainer"
    card = Card(
        title="GreenTrainer",
        family="sparse",
        paper="Towards Green AI in Fine-tuning Large Language Models via Adaptive Backpropagation (2023)",
        summary="Each epoch the tensors that reduce the loss most are chosen within a budget of operations.",
        saves="Operations, and with them time and energy; gradients and activations of ordinary steps. The step that "
        "chooses needs more than full tuning's activations: a copy of the weights comes on top.",
        when="Time or energy is short and memory is not.",
        equation="max sum I_k over M with sum t_dw(M) + t_dy(down to the deepest of M) <= rho T - T_fp",
    )
    Config = GreenTrainerConfig
    steers = frozenset({"lr", "rho", "interval", "select", "units", "costs", "spare", "gradients"})

    def parts(self, config: GreenTrainerConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.adaptive import Adaptive
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.as_loaded import AsLoaded

        estimator = Adaptive(
            config.rho, config.interval, config.select, config.units, config.costs == "path",
            config.gradients != "all", config.spare == "fill",
        )  # fmt: skip
        return Parts(All(), estimator, named(config.optimizer), AsLoaded())

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """Every tensor that was chosen at some time."""
        from workbench.parts.estimator.adaptive import ever_chosen

        chosen = ever_chosen(model.pintpot_parts.estimator.choices)  # type: ignore[union-attr]
        trained = {n: p.detach() for n, p in model.named_parameters() if n in chosen}
        return {**trained, **moving_statistics(model)}

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        if not state:
            raise BadInput("adapter", "nothing", "the tensors of a model that has trained for a step at least")
        super().load_adapter(model, state)
