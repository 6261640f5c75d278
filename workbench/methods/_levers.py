"""Levers that lower the peak of any method: settings that every method has, all off unless its config says so.

A lever is a ``Storage`` part (or, for updates inside backward and for gradients without it, an ``Estimator``) put on
top of the method's own parts when it is attached. Reading this file needs no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from workbench.core.config import Config, setting
from workbench.core.errors import Incompatible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts, Storage

_VISION_TRANSFORMERS = ("vit", "deit", "dinov2", "swin", "beit")


class Levers(Config):
    """The settings; each is one lever."""

    weights: Literal["as-loaded", "bf16", "frozen-bf16", "nf4"] = setting(
        "as-loaded", "how weights are kept: all in bf16, or what is frozen in bf16 or 4-bit NF4"
    )
    saved: Literal["as-is", "bf16", "int8"] = setting(
        "as-is", "how tensors saved for backward are kept; packed ones make gradients approximate"
    )
    bit_masks: bool = setting(False, "keep one bit per element for ReLU, ReLU6 and dropout")
    channels_last: bool = setting(False, "lay convolutions out channels-last")
    chunked_loss: int = setting(
        0, "compute a language model's loss this many tokens at a time; 0: all", ge=0, le=2**20, unit="tokens"
    )
    recompute: int = setting(0, "recompute every n-th block in backward; 0: none", ge=0, le=200, unit="blocks")
    update_in_backward: bool = setting(False, "apply each update inside backward and drop its gradient")
    gradient: Literal["own", "two-sided", "one-sided", "forward"] = setting(
        "own", "the method's own, or a slope along random noise without a backward pass: by differences or exactly"
    )
    probes: int = setting(1, "slopes averaged in a step, where gradients are slopes", ge=1, le=1024)
    perturbation: float = setting(1e-3, "size of the perturbation, where slopes are differences", gt=0, le=1)
    noise: Literal["gaussian", "sign"] = setting(
        "gaussian", "standard normal, or plus and minus ones, where gradients are slopes"
    )


def refusal(levers: Levers, model: ModelSpec) -> str | None:
    """One sentence if a lever that is on cannot serve this model, from what the model declares."""
    convolutional = model.modality != "text" and model.config.get("model_type") not in _VISION_TRANSFORMERS
    if levers.recompute and convolutional:
        return (
            f"recomputing a block of {model.name} would update its batch-norm statistics twice, "
            "so the result would not be the method's own"
        )
    if levers.channels_last and not (convolutional and model.modality == "image"):
        return f"channels-last is a layout of two-dimensional convolutions; {model.name} is none"
    if levers.chunked_loss and model.kind != "causal-lm":
        return f"the chunked loss serves language models; {model.name} is a {model.kind}"
    return None


def applied(parts: Parts, levers: Levers) -> Parts:
    """The method's parts with the levers that are on. Raises ``Incompatible`` where a lever and the parts clash."""
    parts = _forward_only(parts, levers)
    _check(parts, levers)
    storages = tuple(_storages(levers))
    if storages:
        from workbench.parts.storage.stacked import Stacked

        parts = replace(parts, storage=Stacked((parts.storage, *storages)))
    if levers.update_in_backward:
        from workbench.parts.estimator.update_in_backward import UpdateInBackward

        parts = replace(parts, estimator=UpdateInBackward(), per_parameter=True)
    return parts


def _forward_only(parts: Parts, levers: Levers) -> Parts:
    """The parts with an estimator that needs no backward pass, when ``gradient`` asks for one."""
    if levers.gradient == "own":
        return parts
    from workbench.parts.estimator.backprop import Backprop
    from workbench.parts.estimator.forward_gradient import ForwardGradient
    from workbench.parts.estimator.zeroth_order import ZerothOrder

    if type(parts.estimator) is not Backprop:
        raise Incompatible("gradient", levers.gradient, "this method takes its gradient in a way of its own")
    if levers.gradient == "forward":
        return replace(parts, estimator=ForwardGradient(levers.probes, levers.noise), per_parameter=True)
    differences = ZerothOrder(levers.probes, levers.noise, levers.perturbation, levers.gradient == "two-sided")
    return replace(parts, estimator=differences, per_parameter=True)


def _check(parts: Parts, levers: Levers) -> None:
    from workbench.parts.estimator.backprop import Backprop

    for name in ("saved", "bit_masks", "recompute", "update_in_backward"):
        if getattr(levers, name) not in ("as-is", 0) and not parts.estimator.uses_backward:
            raise Incompatible(name, getattr(levers, name), "this method keeps nothing for a backward pass")
    if levers.update_in_backward and type(parts.estimator) is not Backprop:
        raise Incompatible("update_in_backward", True, "this method takes its gradient in a way of its own")
    if levers.saved == "bf16" and levers.weights == "bf16":
        raise Incompatible("saved", "bf16", "with bf16 weights everything is saved in bf16 already")


def _storages(levers: Levers) -> Iterator[Storage]:
    """In the order they must be applied: dtypes, layout, modules, then what wraps a forward."""
    if levers.weights == "nf4":
        from workbench.parts.storage.nf4 import NF4

        yield NF4()
    elif levers.weights != "as-loaded":
        from workbench.parts.storage.bfloat16 import BFloat16, FrozenBFloat16

        yield BFloat16() if levers.weights == "bf16" else FrozenBFloat16()
    if levers.channels_last:
        from workbench.parts.storage.channels_last import ChannelsLast

        yield ChannelsLast()
    if levers.bit_masks:
        from workbench.parts.storage.bit_masks import BitMasks

        yield BitMasks()
    if levers.chunked_loss:
        from workbench.parts.storage.chunked_loss import ChunkedLoss

        yield ChunkedLoss(levers.chunked_loss)
    if levers.recompute:
        from workbench.parts.storage.recomputed import Recomputed

        yield Recomputed(levers.recompute)
    if levers.saved != "as-is":
        from workbench.parts.storage.packed_saved import PackedSaved

        yield PackedSaved(levers.saved)
