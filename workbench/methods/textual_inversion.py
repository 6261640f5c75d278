"""Textual inversion: learn the token of something new, by backpropagation through the frozen denoiser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.methods.base import Method, MethodConfig, register

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts


class TextualInversionConfig(MethodConfig):
    lr: float = setting(3e-2, "peak learning rate", gt=0, le=10)
    word: int = setting(-1, "known token that the new one begins as; -1: the mean of all", ge=-1, le=10**6)


@register
class TextualInversion(Method):
    name = "textual-inversion"
    card = Card(
        title="Textual inversion",
        family="partial",
        paper="An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion (2022)",
        summary="Learn one new row of the table of tokens so that the frozen denoiser draws what a few pictures show.",
        saves="Gradients and optimizer state, to those of one token; not the activations, which all of the net saves.",
        when="A trained denoiser is to draw something it never saw, and a backward pass through it fits.",
        equation="token* = argmin E |v(x_t, t, token) - v_t|^2",
    )
    kinds = ("image-denoiser",)
    Config = TextualInversionConfig

    def applies_to(self, model: ModelSpec) -> str | None:
        if model.kind not in self.kinds:
            return f"it learns a token that says what to draw; {model.name} is of kind {model.kind} and draws nothing"
        return None

    def parts(self, config: TextualInversionConfig) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.one_token import OneToken
        from workbench.parts.storage.as_loaded import AsLoaded

        return Parts(OneToken(config.word), Backprop(), named(config.optimizer), AsLoaded())
