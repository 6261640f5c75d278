"""A tuning method: a card, a typed config, and the four parts it is composed of.

A new method is one file in this folder (or any installed package that declares an entry point in the
group ``pintpot.methods``, or any file named in ``PINTPOT_METHODS``) and one test. Importing the file must
not import torch: parts are imported inside ``parts``, which is called only when a model is at hand, so
listings stay instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator

from workbench.core.card import Card
from workbench.core.config import Setting, setting, settings_of, validated
from workbench.core.errors import BadInput, Incompatible
from workbench.core.own_file import digest_of_module
from workbench.core.registry import Registry
from workbench.methods import _levers as levers
from workbench.methods._levers import Levers
from workbench.parts.optimizer import names as optimizer_rules

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

methods: Registry[Any] = Registry("method", "workbench.methods", "pintpot.methods", "PINTPOT_METHODS")


def _known_rule(name: str) -> str:
    if name not in optimizer_rules():
        raise ValueError(f"expected one of {', '.join(optimizer_rules())}")
    return name


#: The name of an update rule: whichever files lie in ``parts/optimizer``.
OptimizerName = Annotated[str, AfterValidator(_known_rule)]


class MethodConfig(Levers):
    """Settings every method shares, levers included. Subclasses add their own fields and may change defaults."""

    optimizer: OptimizerName = setting("adamw", "update rule", choices=optimizer_rules())
    lr: float = setting(1e-3, "peak learning rate", gt=0, le=10)


class Method:
    """Base of every method; stateless, one instance per name."""

    name: ClassVar[str] = ""
    card: ClassVar[Card]
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    kinds: ClassVar[tuple[str, ...]] = ()  #: kinds of model it serves; empty means all
    lr_by_kind: ClassVar[Mapping[str, float]] = {}  #: learning rate for kinds of model that want another default
    reads_weights: ClassVar[bool] = False  #: attaching decomposes weights, so shapes alone would mislead a prediction
    least: ClassVar[Mapping[str, Any]] = {}  #: settings that train the least; none: there is no device_plan
    steers: ClassVar[frozenset[str]] = frozenset()  #: settings that say which tensors train, and change no operator
    source: ClassVar[str] = ""  #: digest of the file of a method from outside; what an edit made of it is another one

    def settings(self) -> list[Setting]:
        return settings_of(self.Config)

    def configure(self, **values: Any) -> Any:
        """A validated config; raises ``BadInput`` naming the field."""
        return validated(self.Config, values, self.name)

    def applies_to(self, model: ModelSpec) -> str | None:
        """``None`` when the method can serve the model, else one sentence why not. Needs no torch."""
        if self.kinds and model.kind not in self.kinds:
            return f"{self.card.title} serves {' and '.join(self.kinds)} models; {model.name} is of kind {model.kind}"
        return None

    def refuses(self, model: ModelSpec, config: Any) -> str | None:
        """Like :meth:`applies_to`, with the levers that this config pulls."""
        return self.applies_to(model) or levers.refusal(config, model)

    def virtual_tokens(self, config: Any) -> int:
        """Positions of a text model that the method takes beside those of an example's own tokens."""
        return 0

    def parts(self, config: Any) -> Parts:
        """The four parts for this config, without its levers."""
        raise NotImplementedError

    def attach(self, model: nn.Module, config: Any) -> nn.Module:
        """Selection, storage and estimator applied to a model (real or meta), in that order.

        The attached model carries its parts as ``pintpot_parts`` for the training step to use.
        """
        parts = levers.applied(self.parts(config), config)
        pretrained = getattr(model, "pintpot_pretrained", False)  # asked first: an adapter may wrap the model
        model = parts.selection.attach(model)
        if config.statistics == "kept" and pretrained:
            from workbench.nn.deterministic import keep_statistics

            keep_statistics(model)
        model = parts.storage.encode(model)
        parts.estimator.prepare(model)
        if not any(p.requires_grad for p in model.parameters()):
            raise Incompatible("method", self.name, "it leaves nothing to train on this model")
        model.pintpot_parts = parts  # type: ignore[assignment]
        return model

    def device_plan(
        self, net: nn.Module, model: ModelSpec, config: Any, length: int | None = None, batch: int = 1
    ) -> Any:
        """The plan of a step on a device that runs it without torch, in whose ``sram`` are its bytes; ``None`` where
        the step is torch's own. ``net`` is attached, and may be meta."""
        return None

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """What has to be saved to reproduce the tuned model from its base, by name: the trained tensors, and the
        running statistics of norms that move while training."""
        trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        return {**trained, **moving_statistics(model)}

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Put a saved :meth:`adapter_state` into an attached model; raises ``BadInput`` when a name has no place."""
        import torch

        places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, tensor in state.items():
            if name not in places or places[name].shape != tensor.shape:
                raise BadInput("adapter", name, f"a tensor of {self.name} attached to this model, of its shape")
        with torch.no_grad():
            for name, tensor in state.items():
                places[name].copy_(tensor)


def moving_statistics(model: nn.Module) -> dict[str, Any]:
    """Buffers of batch norms that a training forward moves; without them a tuned model is not what it was."""
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    return {
        f"{name}.{inner}" if name else inner: buffer.detach()
        for name, norm in norms
        for inner, buffer in norm.named_buffers(recurse=False)
    }


def register(method: type[Method]) -> type[Method]:
    """Class decorator: make a method known by its name."""
    if not method.__module__.startswith("workbench."):
        method.source = digest_of_module(method.__module__)
    methods.add(method.name, method())
    return method
