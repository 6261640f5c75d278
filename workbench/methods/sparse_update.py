"""Sparse update: the few tensors of a scheme train, and the backward pass visits nothing else (PockEngine)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.spelling import words
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.parts.base import Parts

ROLES = ("attention", "expansion", "depthwise", "projection")


def _known_roles(text: str) -> str:
    if any(word not in ROLES for word in words(text)):
        raise ValueError(f"expected some of {', '.join(ROLES)}, separated by commas")
    return text


class SparseUpdateConfig(MethodConfig):
    lr: float = setting(2e-4, "peak learning rate", gt=0, le=10)
    bias_blocks: int = setting(3, "biases of how many of the deepest blocks train", ge=0, le=200, unit="blocks")
    weight_blocks: int = setting(2, "weights of how many of the deepest blocks train", ge=0, le=200, unit="blocks")
    roles: Annotated[str, AfterValidator(_known_roles)] = setting(
        "attention,expansion", f"which weights of a block train: some of {', '.join(ROLES)}"
    )
    tensors: str = setting("", "names of the tensors that train, by commas; replaces the three settings above")
    channels: float = setting(1.0, "share of each chosen weight's input channels that trains", gt=0, le=1)
    gradients: Literal["scheme", "all"] = setting(
        "scheme", "which gradients are computed: the scheme's, or all of them, masked afterwards, which saves nothing"
    )


@register
class SparseUpdate(Method):
    name = "sparse-update"
    card = Card(
        title="Sparse update (PockEngine)",
        family="sparse",
        paper="PockEngine: Sparse and Efficient Fine-tuning in a Pocket (2023)",
        summary="Biases of the last blocks and a few of their weights train; the backward pass stops below them.",
        saves="Activations, gradients and state of all that is not in the scheme; time of the backward below it.",
        when="Adapters are too slow: they keep the whole backward path, a sparse scheme cuts it off.",
        equation="dL/dt computed only for t in the scheme U, and dL/dx only above the deepest t",
    )
    Config = SparseUpdateConfig
    lr_by_kind = {"image-classifier": 1e-3, "sensor-classifier": 3e-3}

    def parts(self, config: SparseUpdateConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.estimator.masked import Masked
        from workbench.parts.optimizer import named
        from workbench.parts.selection.scheme import Scheme
        from workbench.parts.storage.as_loaded import AsLoaded

        chosen = words(config.roles), words(config.tensors)
        scheme = Scheme(config.bias_blocks, config.weight_blocks, *chosen, config.channels)
        estimator = Masked() if config.gradients == "all" else Backprop()
        return Parts(scheme, estimator, named(config.optimizer), AsLoaded())
