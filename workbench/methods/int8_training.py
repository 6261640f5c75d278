"""Train a really quantized net under a microcontroller's budget (On-Device Training Under 256KB Memory)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.errors import BadInput
from workbench.methods.base import Method, MethodConfig, OptimizerName, register
from workbench.parts.optimizer import names as optimizer_rules

if TYPE_CHECKING:
    from torch import nn

    from workbench.engine.integer_plan import StepPlan
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

_WEIGHT = re.compile(r"(-?\d{1,3})(?::(1|1/[248]))?")
_OFF = {"weights": "as-loaded", "saved": "as-is", "prefix_cache": "none", "gradient": "own", "executor": "eager"}
_LEVERS = (*_OFF, "bit_masks", "channels_last", "recompute", "recompute_first", "update_in_backward")


def shares(text: str) -> dict[int, Fraction]:
    """``"-1:1/4, 3"`` as shares of input channels by number of convolution; raises ``ValueError``."""
    found: dict[int, Fraction] = {}
    for word in filter(None, (w.strip() for w in text.split(","))):
        match = _WEIGHT.fullmatch(word)
        if match is None:
            raise ValueError("expected 'all', or convolutions by number with a share of 1, 1/2, 1/4 or 1/8, as -1:1/4")
        found[int(match[1])] = Fraction(match[2] or "1")
    return found


def _known_update(text: str) -> str:
    if text.strip() != "all":
        shares(text)
    return text


class Int8TrainingConfig(MethodConfig):
    optimizer: OptimizerName = setting("sgd", "update rule", choices=optimizer_rules())
    lr: float = setting(1e-2, "peak learning rate", gt=0, le=10)
    graph: Literal["int8", "float", "fake"] = setting(
        "int8", "integers only; or the folded graph in float32; or rounded in float32 over a float32 master copy"
    )
    biases: int = setting(8, "biases of how many of the last convolutions train", ge=0, le=500)
    update: Annotated[str, AfterValidator(_known_update)] = setting(
        "-1:1/4,-4:1/2", "weights that train: 'all', or convolutions by number with a share of their input channels"
    )
    qas: bool = setting(True, "scale gradients of integers to what the integers stand for")
    rounding: Literal["stochastic", "nearest"] = setting("stochastic", "how an updated integer becomes whole again")
    updates: Literal["early", "late"] = setting("early", "each update right after its gradient, or all at the end")
    gradients: Literal["scheme", "all"] = setting(
        "scheme", "which gradients are computed: the scheme's, or all of them, masked afterwards, which saves nothing"
    )

    @property
    def drops_gradients(self) -> bool:
        return super().drops_gradients or self.graph == "int8"


@register
class Int8Training(Method):
    name = "int8-training"
    card = Card(
        title="Int8 training with scaled gradients (QAS)",
        family="sparse",
        paper="On-Device Training Under 256KB Memory (2022)",
        summary="Weights and maps are int8 and stay so; a few tensors train, each updated as its gradient appears.",
        saves="Weights to a quarter, saved maps to a quarter or one bit an element, gradients to one tensor's.",
        when="The device has kilobytes, and the float net would not even fit for inference.",
        equation="W = s Wbar;  Wbar <- round(Wbar - lr s^-2 dL/dWbar), for W in the scheme",
    )
    Config = Int8TrainingConfig
    least = {"biases": 0, "update": ""}  #: the head alone

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.config.get("model_type") != "efficientnet-lite":
            found = model.config.get("model_type", model.kind)
            return f"its integer graph holds inverted residuals with ReLU6; {model.name} is a {found} model"
        if model.config.get("activation", "relu6") != "relu6":
            return f"its integer graph holds ReLU6; {model.name} has {model.config['activation']}"
        return None

    def refuses(self, model: ModelSpec, config: Int8TrainingConfig) -> str | None:
        if config.graph == "int8":
            for name in _LEVERS:
                if getattr(config, name) not in (_OFF.get(name), False, 0):
                    return f"an integer graph keeps its tensors in its own way, so {name} has nothing to act on"
        elif config.gradients == "all":
            return "masking afterwards is an arm of the int8 graph; for float graphs see sparse-update gradients=all"
        return super().refuses(model, config)

    def parts(self, config: Int8TrainingConfig) -> Parts:
        from workbench.nn.update_set import UpdateSet
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.estimator.integer_backprop import IntegerBackprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.all import All
        from workbench.parts.storage.integer_graph import IntegerGraph

        whole = config.update.strip() == "all"
        updates = UpdateSet(config.biases, {} if whole else shares(config.update), whole)
        graph = IntegerGraph(config.graph, updates, config.gradients == "all")
        integer = IntegerBackprop(config.qas, config.rounding == "stochastic", config.updates == "early")
        estimator = integer if config.graph == "int8" else Backprop()
        return Parts(All(), estimator, named(config.optimizer), graph)

    def device_plan(
        self, net: nn.Module, model: ModelSpec, config: Int8TrainingConfig, length: int | None = None, batch: int = 1
    ) -> StepPlan | None:
        from workbench.engine.integer_plan import STATE, plan_net

        if config.graph != "int8" or config.optimizer not in STATE:
            return None
        size = length or model.shape[-1]
        side = (1, size) if model.modality == "sensor" else (size, size)
        return plan_net(net, side, model.shape[0], batch, config.optimizer, config.updates == "early")  # type: ignore[arg-type]

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """The head, and every integer tensor of which something trains."""
        if not hasattr(model, "program"):
            return super().adapter_state(model)
        found = {n: p.detach() for n, p in model.named_parameters() if not hasattr(p, "stands_for")}
        for name, conv in model.convolutions:  # type: ignore[union-attr]
            found |= {f"layers.{name}.weight": conv.weight} if conv.trains_weight else {}
            found |= {f"layers.{name}.bias": conv.bias} if conv.trains_bias else {}
        return found

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, tensor in state.items():
            if name in places and places[name].dtype != tensor.dtype:
                raise BadInput("adapter", name, f"numbers of type {places[name].dtype}")
        super().load_adapter(model, state)
