"""Levers that lower the peak of any method: settings that every method has, all off unless its config says so.

A lever is a ``Storage`` part (or, for updates inside backward and for gradients without it, an ``Estimator``) put on
top of the method's own parts when it is attached. Reading this file needs no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.config import Config, setting
from workbench.core.errors import Incompatible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts, Storage

_BATCH_NORMED = ("efficientnet-lite", "convolution-1d")  #: of others it is seen when the model is there
_VISION_TRANSFORMERS = ("vit", "deit", "dinov2", "swin", "beit", "denoiser")


class Levers(Config):
    """The settings; each is one lever."""

    weights: Literal["as-loaded", "bf16", "frozen-bf16", "frozen-int8", "nf4", "prefix-bf16", "prefix-int8"] = setting(
        "as-loaded",
        "how weights are kept: all in bf16; what is frozen in bf16, int8 or 4-bit NF4; "
        "or what lies below the first trained block in bf16 or int8, without dropout",
    )
    prefix_cache: Literal["none", "ram", "disk"] = setting(
        "none", "keep what the blocks below the first trained one give, computed once an example without dropout"
    )
    cached_examples: int = setting(
        1024, "examples the prefix cache holds; memory for all of them is taken at the first step", ge=1, le=10**7
    )
    saved: Literal["as-is", "bf16", "int8", "static"] = setting(
        "as-is",
        "how tensors saved for backward are kept; packed ones make gradients approximate. static: GELU in 4 bits, "
        "attention in 8, a tenth of frozen norms, the rest as it is (SlimFit's packing)",
    )
    bit_masks: bool = setting(False, "keep one bit per element for ReLU, ReLU6 and dropout")
    statistics: Literal["kept", "moving"] = setting(
        "kept",
        "running statistics of batch norms whose scale does not train: kept where they came with the weights "
        "(random ones have none worth keeping), or moved by the data",
    )
    lean_frozen: bool = setting(False, "keep no input for convolutions that do not train")
    channels_last: bool = setting(False, "lay convolutions out channels-last")
    chunked_loss: int = setting(
        0, "compute a language model's loss this many tokens at a time; 0: all", ge=0, le=2**20, unit="tokens"
    )
    recompute: int = setting(0, "recompute every n-th block in backward; 0: none", ge=0, le=200, unit="blocks")
    recompute_first: int = setting(
        0, "recompute no block after the first n; 0: any of them", ge=0, le=1000, unit="blocks"
    )
    update_in_backward: bool = setting(False, "apply each update inside backward and drop its gradient")
    executor: Literal["eager", "graph", "inductor", "auto"] = setting(
        "eager", "what runs the step: torch itself, its captured graph, that graph compiled, or the fastest of them"
    )
    gradient: Literal["own", "two-sided", "one-sided", "forward"] = setting(
        "own", "the method's own, or a slope along random noise without a backward pass: by differences or exactly"
    )
    probes: int = setting(1, "slopes averaged in a step, where gradients are slopes", ge=1, le=1024)
    perturbation: float = setting(1e-3, "size of the perturbation, where slopes are differences", gt=0, le=1)
    noise: Literal["gaussian", "sign"] = setting(
        "gaussian", "standard normal, or plus and minus ones, where gradients are slopes"
    )
    slope: Literal["measured", "sign"] = setting(
        "measured", "where gradients are slopes: the slope, or only its sign (signs of elements: optimizer=sign)"
    )
    accept: Literal["always", "best-of-three"] = setting(
        "always", "where gradients are slopes: take the step, or the best of staying, the step and its opposite"
    )
    scope: Literal["together", "block-wise"] = setting(
        "together", "where gradients are slopes: noise in all trained tensors, or in one block after another"
    )
    backprop_blocks: int = setting(
        0, "where gradients are slopes: so many of the deepest blocks have an ordinary one", ge=0, le=200, unit="blocks"
    )
    objective: Literal["loss", "error"] = setting(
        "loss", "what training lowers: the loss, or the share of wrong answers, which only differences can follow"
    )

    @property
    def drops_gradients(self) -> bool:
        """Whether a gradient is gone once it is used, so that micro-batches cannot be accumulated."""
        return self.update_in_backward


def refusal(levers: Levers, model: ModelSpec) -> str | None:
    """One sentence if a lever that is on cannot serve this model, from what the model declares."""
    convolutional = model.modality != "text" and model.config.get("model_type") not in _VISION_TRANSFORMERS
    if (levers.recompute or levers.recompute_first) and model.config.get("model_type") in _BATCH_NORMED:
        return (
            f"recomputing a block of {model.name} would update its batch-norm statistics twice, "
            "so the result would not be the method's own"
        )
    if levers.channels_last and not (convolutional and model.modality == "image"):
        return f"channels-last is a layout of two-dimensional convolutions; {model.name} is none"
    if levers.chunked_loss and model.kind != "causal-lm":
        return f"the chunked loss serves language models; {model.name} is of kind {model.kind}"
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
    return _executed(parts, levers)


def _executed(parts: Parts, levers: Levers) -> Parts:
    """``auto`` that no race has decided is the graph where a graph can be, else eager."""
    if levers.executor == "eager":
        return parts
    try:
        _check_captured(parts, levers)
    except Incompatible:
        if levers.executor == "auto":
            return parts
        raise
    from workbench.parts.estimator.captured import Captured

    return replace(parts, estimator=Captured("graph" if levers.executor == "auto" else levers.executor))


def _forward_only(parts: Parts, levers: Levers) -> Parts:
    """The parts with an estimator that needs no backward pass, when ``gradient`` asks for one."""
    if levers.gradient == "own":
        for name in ("slope", "accept", "scope", "backprop_blocks"):
            if getattr(levers, name) != Levers.model_fields[name].default:
                reason = "this gradient is no slope; set gradient=two-sided, one-sided or forward"
                raise Incompatible(name, getattr(levers, name), reason)
        return parts
    from workbench.parts.estimator.backprop import Backprop
    from workbench.parts.estimator.forward_gradient import ForwardGradient
    from workbench.parts.estimator.zeroth_order import ZerothOrder

    if type(parts.estimator) is not Backprop:
        raise Incompatible("gradient", levers.gradient, "this method takes its gradient in a way of its own")
    more: dict[str, Any] = {"signed": levers.slope == "sign", "best_of_three": levers.accept == "best-of-three"}
    estimator: Any
    if levers.gradient == "forward":
        estimator = ForwardGradient(levers.probes, levers.noise, **more)
    else:
        two_sided = levers.gradient == "two-sided"
        estimator = ZerothOrder(levers.probes, levers.noise, levers.perturbation, two_sided, **more)
    return replace(parts, estimator=_scoped(estimator, levers), per_parameter=True)


def _scoped(estimator: Any, levers: Levers) -> Any:
    if levers.scope == "block-wise" and levers.backprop_blocks:
        raise Incompatible("backprop_blocks", levers.backprop_blocks, "with scope=block-wise: choose one of the two")
    if levers.scope == "block-wise":
        from workbench.parts.estimator.block_wise import BlockWise

        return BlockWise(estimator)
    if levers.backprop_blocks:
        from workbench.parts.estimator.hybrid import Hybrid

        return Hybrid(estimator, levers.backprop_blocks)
    return estimator


def _check(parts: Parts, levers: Levers) -> None:
    from workbench.parts.estimator.backprop import Backprop

    for name in ("saved", "bit_masks", "lean_frozen", "recompute", "recompute_first", "update_in_backward"):
        if getattr(levers, name) not in ("as-is", 0) and not parts.estimator.uses_backward:
            raise Incompatible(name, getattr(levers, name), "this method keeps nothing for a backward pass")
    if levers.update_in_backward and type(parts.estimator) is not Backprop:
        raise Incompatible("update_in_backward", True, "this method takes its gradient in a way of its own")
    if levers.objective == "error" and (parts.estimator.uses_backward or levers.gradient == "forward"):
        reason = "a count of wrong answers has no derivative; set gradient=two-sided or one-sided"
        raise Incompatible("objective", "error", reason)
    if levers.saved == "bf16" and levers.weights == "bf16":
        raise Incompatible("saved", "bf16", "with bf16 weights everything is saved in bf16 already")


def _check_captured(parts: Parts, levers: Levers) -> None:
    """What a captured graph would get wrong, or does already."""
    from workbench.parts.estimator.backprop import Backprop

    clashes = {
        "recompute": "a captured graph draws dropout anew where a block is recomputed",
        "saved": "a captured graph keeps its values by itself, so packing them never happens",
        "update_in_backward": "a captured graph places every update at its gradient already",
    }
    for name, reason in clashes.items():
        if getattr(levers, name) not in ("as-is", 0):
            raise Incompatible("executor", levers.executor, f"with {name}={getattr(levers, name)}: {reason}")
    if type(parts.estimator) is not Backprop:
        raise Incompatible("executor", levers.executor, "this method takes its gradient in a way of its own")


def _storages(levers: Levers) -> Iterator[Storage]:
    """In the order they must be applied: dtypes, layout, modules, then what wraps a forward."""
    yield from _weights(levers.weights)
    if levers.channels_last:
        from workbench.parts.storage.channels_last import ChannelsLast

        yield ChannelsLast()
    if levers.bit_masks:
        from workbench.parts.storage.bit_masks import BitMasks

        yield BitMasks()
    if levers.lean_frozen:
        from workbench.parts.storage.lean_frozen import LeanFrozen

        yield LeanFrozen()
    if levers.saved == "static":
        from workbench.parts.storage.packed_static import PackedStatic

        yield PackedStatic(asked=("saved", "static"))
    if levers.chunked_loss:
        from workbench.parts.storage.chunked_loss import ChunkedLoss

        yield ChunkedLoss(levers.chunked_loss)
    if levers.recompute or levers.recompute_first:
        from workbench.parts.storage.recomputed import Recomputed

        yield Recomputed(max(levers.recompute, 1), levers.recompute_first or None)
    if levers.prefix_cache != "none":
        from workbench.parts.storage.cached_prefix import CachedPrefix

        yield CachedPrefix(levers.prefix_cache, levers.cached_examples)
    if levers.saved in ("bf16", "int8"):
        from workbench.parts.storage.packed_saved import PackedSaved

        yield PackedSaved(levers.saved)


def _weights(name: str) -> Iterator[Storage]:
    if name == "nf4":
        from workbench.parts.storage.nf4 import NF4

        yield NF4()
    elif name in ("bf16", "frozen-bf16"):
        from workbench.parts.storage.bfloat16 import BFloat16, FrozenBFloat16

        yield BFloat16() if name == "bf16" else FrozenBFloat16()
    elif name == "frozen-int8":
        from workbench.parts.storage.frozen_int8 import FrozenInt8

        yield FrozenInt8()
    elif name != "as-loaded":
        from workbench.parts.storage.narrow_prefix import PrefixBFloat16, PrefixInt8

        yield PrefixInt8() if name == "prefix-int8" else PrefixBFloat16()
