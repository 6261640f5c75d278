"""ZOODiP: learn one token of a quantized denoiser from forward passes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class ZOODiPConfig(MethodConfig):
    lr: float = setting(1e-2, "peak learning rate", gt=0, le=10)
    gradient: Literal["own", "two-sided", "one-sided", "forward"] = setting(
        "one-sided", "slope along random noise: by differences or exactly; own: by backpropagation"
    )
    probes: int = setting(2, "slopes averaged in a step, each one forward pass more", ge=1, le=1024)
    adam_eps: float = setting(1e-3, "what Adam adds to the root of its second moment", gt=0, le=1)
    word: int = setting(-1, "known token that the new one begins as; -1: the mean of all", ge=-1, le=10**6)
    quantized: Literal["int8", "fake", "none"] = setting(
        "int8", "frozen weights as integers, as float32 rounded to what integers stand for, or as they are"
    )
    subspace: int = setting(
        128, "steps of the token's path that its quiet directions are found from; 0: none are removed", ge=0, le=10**4,
        unit="steps",
    )  # fmt: skip
    noise_share: float = setting(1e-3, "share of the path's variance that is taken to be noise", ge=0, le=0.999)
    timesteps_from: float = setting(0.5, "least time that training draws; 0 is the picture", ge=0, le=0.999)
    timesteps_to: float = setting(0.9, "greatest time that training draws; 1 is noise", gt=0, le=1)


@register
class ZOODiP(Method):
    name = "zoodip"
    card = Card(
        title="ZOODiP (a token without backpropagation)",
        family="forward-only",
        paper="Efficient Personalization of Quantized Diffusion Model without Backpropagation (2025)",
        summary="Learn one token of an int8 denoiser from differences of its loss, at times that the token decides.",
        saves="All saved activations, and float weights to a quarter; a history of the token stands in their place.",
        when="A quantized denoiser is to draw something it never saw where only inference fits.",
        equation="g = mean_i (L(s + eps z_i) - L(s)) / eps z_i;  g <- g - g E^T E;  s <- s - Adam(g),  t ~ U(0.5, 0.9)",
    )
    kinds = ("image-denoiser",)
    Config = ZOODiPConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.kind not in self.kinds:
            return f"it learns a token that says what to draw; {model.name} is of kind {model.kind} and draws nothing"
        return None

    def refuses(self, model: ModelSpec, config: ZOODiPConfig) -> str | None:
        if config.timesteps_from >= config.timesteps_to:
            return (
                f"timesteps_from is {config.timesteps_from:g} and must lie below timesteps_to, "
                f"which is {config.timesteps_to:g}"
            )
        if config.quantized != "none" and config.weights != "as-loaded":
            return f"quantized={config.quantized} keeps the weights in its own way; for weights set quantized=none"
        return super().refuses(model, config)

    def parts(self, config: ZOODiPConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.optimizer.adamw import AdamW
        from workbench.parts.optimizer.subspace_gradient import SubspaceGradient
        from workbench.parts.selection.one_token import OneToken
        from workbench.parts.storage.as_loaded import AsLoaded
        from workbench.parts.storage.weight_only_int8 import WeightOnlyInt8

        rule: Any = named(config.optimizer) if config.optimizer != "adamw" else AdamW(0.0, config.adam_eps)
        if config.subspace:
            rule = SubspaceGradient(config.subspace, config.noise_share, config.probes, rule)
        token = OneToken(config.word, config.timesteps_from, config.timesteps_to)
        storage = AsLoaded() if config.quantized == "none" else WeightOnlyInt8(config.quantized == "fake")
        # The estimator is the gradient lever's, which this method has on.
        return Parts(token, Backprop(), rule, storage)
