"""S2FT: a few attention heads and feed-forward channels, co-permuted to the front, train as dense slices in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.spelling import words
from workbench.methods.base import Method, MethodConfig, moving_statistics, register

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Estimator, Parts

MATRICES = ("q", "k", "v", "o", "up", "gate", "down")
_CONVOLUTIONAL = ("efficientnet-lite", "convolution-1d")


def _known_matrices(text: str) -> str:
    if not words(text) or any(word not in MATRICES for word in words(text)):
        raise ValueError(f"expected some of {', '.join(MATRICES)}, separated by commas")
    return text


class S2FTConfig(MethodConfig):
    lr: float = setting(2e-3, "peak learning rate", gt=0, le=10)
    heads: float = setting(0.0, "share of the query heads that trains", ge=0, le=1)
    channels: float = setting(0.03, "share of the feed-forward channels that trains", ge=0, le=1)
    matrices: Annotated[str, AfterValidator(_known_matrices)] = setting(
        "o,down", f"which matrices of the chosen heads and channels train: some of {', '.join(MATRICES)}"
    )
    select: Literal["random", "weight", "activation", "product", "gradient"] = setting(
        "random",
        "how they are chosen: at random, by the norm of their weights, or on the first batch by what they carry, by "
        "both, or by their gradient",
    )
    prefer: Literal["largest", "smallest"] = setting("largest", "which end of the scores trains")
    spread: Literal["pooled", "even"] = setting(
        "pooled", "random ones are drawn from all blocks together, or as many from each; scored ones always evenly"
    )
    draw: int = setting(0, "number of the draw that decides how many of each block a pooled choice takes", ge=0)
    compute: Literal["slice", "mask", "delta"] = setting(
        "slice", "slice by slice; or the lazy ways: whole gradients masked afterwards, or a second product"
    )


@register
class S2FT(Method):
    name = "s2ft"
    card = Card(
        title="S2FT",
        family="sparse",
        paper="S2FT: Efficient, Scalable and Generalizable LLM Fine-tuning by Structured Sparsity (2024)",
        summary="A few heads and feed-forward channels are permuted to the front and train as dense slices in place.",
        saves="Gradients and state of all but the slices, and of their layers' inputs all but the slice; "
        "norms and activations of the other layers stay.",
        when="An adapter is wanted that costs nothing in the forward pass and nothing to merge.",
        equation="dL/dW[:, :k] = dY^T X[:, :k] after a co-permutation that leaves the model's function as it is",
    )
    Config = S2FTConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.config.get("model_type") in _CONVOLUTIONAL:
            return f"{self.card.title} permutes attention heads and feed-forward channels; {model.name} has neither"
        return super().applies_to(model)

    def refuses(self, model: ModelSpec, config: S2FTConfig) -> str | None:
        trains = set(words(config.matrices))
        if not (config.heads and trains & set(MATRICES[:4])) and not (config.channels and trains & set(MATRICES[4:])):
            return (
                f"nothing would train: heads={config.heads:g} and channels={config.channels:g} with "
                f"matrices={config.matrices}; heads are in q, k, v and o, channels in up, gate and down"
            )
        if config.compute != "slice" and config.select not in ("random", "weight"):
            return f"compute={config.compute} is a lazy arm for choices made beforehand, not select={config.select}"
        return super().refuses(model, config)

    def parts(self, config: S2FTConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.optimizer import named
        from workbench.parts.selection.coupled_slices import CoupledSlices
        from workbench.parts.storage.as_loaded import AsLoaded

        selection = CoupledSlices(
            config.heads, config.channels, words(config.matrices), config.select, config.prefer,
            config.spread == "pooled", config.draw, config.compute,
        )  # fmt: skip
        rule: Any = named(config.optimizer)
        if hasattr(rule, "weight_decay"):  # the paper's: a slice must not drift from the base by decay alone
            rule = replace(rule, weight_decay=0.0)
        return Parts(selection, _estimator(config), rule, AsLoaded())

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """The trained channels and where they belong; see :mod:`workbench.models.sliced_adapter`."""
        from workbench.models.sliced_adapter import adapter_of

        return {**adapter_of(model), **moving_statistics(model)}

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Put an adapter on an attached model, whichever units stood in front of it before."""
        from workbench.models.sliced_adapter import put_adapter

        put_adapter(model, state)


def _estimator(config: S2FTConfig) -> Estimator:
    from workbench.parts.estimator.backprop import Backprop
    from workbench.parts.estimator.calibrated import Calibrated
    from workbench.parts.estimator.masked_slices import MaskedSlices

    if config.select not in ("random", "weight"):
        return Calibrated(config.select, config.prefer)
    return MaskedSlices() if config.compute == "mask" else Backprop()
