"""Adapters of the peft library as one Selection: whichever tuner, the same few lines."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from workbench.core.errors import BadInput, Incompatible
from workbench.models.structure import blocks, head
from workbench.nn.bitsandbytes_library import bitsandbytes

_TASK_TYPES = {"text-encoder": "SEQ_CLS", "causal-lm": "CAUSAL_LM", "seq2seq-lm": "SEQ_2_SEQ_LM"}


@dataclass(frozen=True)
class PeftAdapter:
    """Wrap the model with one peft tuner (``tuner`` is peft's own name) and train it with the fresh head.

    ``targets`` is ``default`` (peft's own choice for the architecture, all linear layers of the blocks when
    it has none) or ``linear`` (every linear or 1x1-convolution layer of the blocks).
    """

    tuner: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    targets: str = "default"
    layers: str = "linear"
    """Which layers the tuner adapts when peft has no choice of its own: ``linear`` or ``norm``."""
    top_blocks: int = 0
    """Adapt only the deepest so many blocks; 0: all."""

    def attach(self, model: nn.Module) -> nn.Module:
        attempts: list[list[str] | None] = [None] if self.targets == "default" else []
        layers = adaptable_layers(model) if self.layers == "linear" else norm_layers(model)
        layers = [name for name in layers if not self.top_blocks or name.startswith(self._top(model))]
        if layers:
            attempts.append(layers)
        last: Exception | None = None
        for names in attempts:
            try:
                return self._wrap(model, names)
            except Incompatible:
                raise
            except Exception as error:  # peft refuses with many exception types; its own words are the reason
                last = error
                if _is_wrapped(model):
                    break
        if not layers and "target_modules" in str(last):
            raise Incompatible(
                "method", self.tuner, "peft knows no layers for it here, and its blocks hold none of that kind"
            )
        reason = _reason(last, self.settings)
        raise Incompatible("method", self.tuner, reason, lasting=last is None or _meant(last)) from last

    def _top(self, model: nn.Module) -> tuple[str, ...]:
        """What the names of layers in the adapted blocks begin with."""
        found = blocks(model)
        if self.top_blocks > len(found):
            raise BadInput("top_blocks", self.top_blocks, f"a whole number from 0 to {len(found)} for this model")
        return tuple(f"{name}." for name, _ in found[len(found) - self.top_blocks :])

    def _wrap(self, model: nn.Module, layers: list[str] | None) -> nn.Module:
        with contextlib.suppress(ImportError):  # peft imports it where it is there, and has the compiler started
            bitsandbytes()
        from peft import get_peft_model
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
        from peft.utils import PeftType

        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType[self.tuner.upper()]]
        known = config_class.__dataclass_fields__
        values = dict(self.settings)
        kind = getattr(model, "pintpot_kind", "")
        if kind in _TASK_TYPES:
            values["task_type"] = _TASK_TYPES[kind]
        output = None if kind in ("causal-lm", "seq2seq-lm") else head(model)
        if output is not None and "modules_to_save" in known:
            values["modules_to_save"] = [output[0].rpartition(".")[2]]
        if layers is not None and "target_modules" in known:
            values["target_modules"] = layers
            if "feedforward_modules" in known:
                values["feedforward_modules"] = []
        if self.top_blocks:
            if "layers_to_transform" not in known:
                raise Incompatible("top_blocks", self.top_blocks, f"{self.tuner} adapts all blocks or none")
            parent, _, first = self._top(model)[0].removesuffix(".").rpartition(".")
            numbers = range(int(first), int(first) + self.top_blocks)
            values |= {"layers_to_transform": list(numbers), "layers_pattern": parent.rpartition(".")[2]}
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        quiet = io.StringIO()  # some tuners draw progress bars while they decompose weights
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            warnings.simplefilter("ignore")
            wrapped: nn.Module = get_peft_model(model, config_class(**values))
        if output is not None:
            _train_head(wrapped, output[0])
        return wrapped


def adaptable_layers(model: nn.Module) -> list[str]:
    """Names of the linear and 1x1-convolution layers inside the model's blocks; of all of them but the head where
    one block is used again and again."""
    found = blocks(model)
    output = head(model)
    names = [
        ".".join(part for part in (name, inner) if part)
        for name, block in found or [("", model)]
        for inner, layer in block.named_modules()
        if _is_linear(layer)
    ]
    return [name for name in names if found or output is None or not name.startswith(output[0])]


def _is_linear(layer: nn.Module) -> bool:
    """A linear or 1x1-convolution layer, and nothing besides: a router that is itself a linear layer (Llama 4) gives
    its choice as well, which no adapter takes."""
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1)
    return isinstance(layer, nn.Linear) and "router" not in type(layer).__name__.lower()


def norm_layers(model: nn.Module) -> list[str]:
    """Names of the normalisation layers inside the model's blocks, by what they hold: a one-dimensional weight."""
    return [
        f"{name}.{inner}" if inner else name
        for name, block in blocks(model)
        for inner, layer in block.named_modules()
        if "norm" in type(layer).__name__.lower() and getattr(layer, "weight", None) is not None
    ]


def _train_head(wrapped: nn.Module, name: str) -> None:
    """Prompt tuners freeze everything; a fresh head has to train with any adapter."""
    leaf = name.rpartition(".")[2]
    for module_name, module in wrapped.named_modules():
        if module_name.rpartition(".")[2] == leaf:
            saved = getattr(module, "modules_to_save", None)
            for parameter in (saved if saved is not None else module).parameters():
                parameter.requires_grad_(True)
            return


def _is_wrapped(model: nn.Module) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(m, BaseTunerLayer) for m in model.modules())


def _meant(error: Exception) -> bool:
    """Whether peft's own code refuses, as it does wherever it has the same version; else something broke in it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    own = trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("peft.")
    return own and isinstance(error, ValueError | TypeError | NotImplementedError)


def _reason(error: Exception | None, settings: Mapping[str, Any]) -> str:
    """In peft's own words, with the settings that they are about: another value of one may serve."""
    if error is None:
        return "the model has no linear layer to adapt"
    text = " ".join(str(error).split())
    first = text.split(". ")[0].rstrip(".") or type(error).__name__
    about = [n for n in settings if re.search(rf"\b({n}|{n.replace('_', ' ')})\b", text, re.IGNORECASE)]
    hints = "; ".join(f"{name} is {settings[name]}, which --set {name}=VALUE changes" for name in about)
    return f"peft says: {first[:200]}" + (f" ({hints})" if hints else "")
