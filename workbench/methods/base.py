"""A tuning method: a card, a typed config, and the four parts it is composed of.

A new method is one file in this folder (or any installed package that declares an entry point in the
group ``pintpot.methods``) and one test. Importing the file must not import torch: parts are imported
inside ``parts``, which is called only when a model is at hand, so listings stay instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator

from workbench.core.card import Card
from workbench.core.config import Config, Setting, setting, settings_of, validated
from workbench.core.errors import Incompatible
from workbench.core.registry import Registry
from workbench.parts.optimizer import names as optimizer_rules

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

methods: Registry[Any] = Registry("method", "workbench.methods", "pintpot.methods")


def _known_rule(name: str) -> str:
    if name not in optimizer_rules():
        raise ValueError(f"expected one of {', '.join(optimizer_rules())}")
    return name


#: The name of an update rule: whichever files lie in ``parts/optimizer``.
OptimizerName = Annotated[str, AfterValidator(_known_rule)]


class MethodConfig(Config):
    """Settings every method shares. Subclasses add their own fields and may change defaults."""

    optimizer: OptimizerName = setting("adamw", "update rule", choices=optimizer_rules())
    lr: float = setting(1e-3, "peak learning rate", gt=0, le=10)


class Method:
    """Base of every method; stateless, one instance per name."""

    name: ClassVar[str] = ""
    card: ClassVar[Card]
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    kinds: ClassVar[tuple[str, ...]] = ()  #: kinds of model it serves; empty means all

    def settings(self) -> list[Setting]:
        return settings_of(self.Config)

    def configure(self, **values: Any) -> Any:
        """A validated config; raises ``BadInput`` naming the field."""
        return validated(self.Config, values, self.name)

    def applies_to(self, model: ModelSpec) -> str | None:
        """``None`` when the method can serve the model, else one sentence why not. Needs no torch."""
        if self.kinds and model.kind not in self.kinds:
            return f"{self.card.title} serves {' and '.join(self.kinds)} models; {model.name} is a {model.kind}"
        return None

    def parts(self, config: Any) -> Parts:
        """The four parts for this config."""
        raise NotImplementedError

    def attach(self, model: nn.Module, config: Any) -> nn.Module:
        """Selection, storage and estimator applied to a model (real or meta), in that order.

        The attached model carries its parts as ``pintpot_parts`` for the training step to use.
        """
        parts = self.parts(config)
        model = parts.storage.encode(parts.selection.attach(model))
        parts.estimator.prepare(model)
        if not any(p.requires_grad for p in model.parameters()):
            raise Incompatible("method", self.name, "it leaves nothing to train on this model")
        model.pintpot_parts = parts  # type: ignore[assignment]
        return model

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """What has to be saved to reproduce the tuned model from its base: the trained tensors by name."""
        return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def register(method: type[Method]) -> type[Method]:
    """Class decorator: make a method known by its name."""
    methods.add(method.name, method())
    return method
