"""Every tuner of the peft library, through one wrapper that reads peft's own registry."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import create_model

from workbench.core.card import Card
from workbench.core.config import setting
from workbench.core.errors import BadInput
from workbench.methods._peft_source import Tuner, TunerField, tuners
from workbench.methods.base import Method, MethodConfig, methods

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec
    from workbench.parts.base import Parts

#: Fields of peft's configs that our own settings decide, or that only concern loading and serving.
_DECIDED = frozenset(
    {
        "target_modules",
        "modules_to_save",
        "feedforward_modules",
        "bias",
        "task_type",
        "inference_mode",
        "megatron_core",
        "fan_in_fan_out",
    }
)
_CARDS: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "peft_cards.toml").read_text())


class PeftMethod(Method):
    """One tuner of peft: its config fields become typed settings, its own refusal becomes the reason."""

    def __init__(self, tuner: Tuner) -> None:
        facts = _CARDS.get(tuner.name, {})
        self.tuner = tuner
        self.name = tuner.name.replace("_", "-")  # type: ignore[misc]
        self.card = _card(tuner, facts)  # type: ignore[misc]
        self.Config = _config(tuner, facts)  # type: ignore[misc]
        self.kinds = tuple(facts.get("kinds", ()))  # type: ignore[misc]
        self.refusal: str = facts.get("refusal", "")
        self.layers: str = facts.get("layers", "linear")
        self.reads_weights = bool(facts.get("reads_weights", False))  # type: ignore[misc]

    def applies_to(self, model: ModelSpec) -> str | None:
        if self.refusal:
            return self.refusal
        if self.tuner.prompt and model.modality != "text":
            return f"{self.card.title} prepends virtual tokens; {model.name} reads no tokens"
        return super().applies_to(model)

    def virtual_tokens(self, config: Any) -> int:
        return int(getattr(config, "num_virtual_tokens", 0))

    def parts(self, config: Any) -> Parts:
        from workbench.parts.base import Parts
        from workbench.parts.estimator.backprop import Backprop
        from workbench.parts.optimizer import named
        from workbench.parts.selection.peft_adapter import PeftAdapter
        from workbench.parts.storage.as_loaded import AsLoaded

        values = config.model_dump(exclude={*MethodConfig.model_fields, "targets", "top_blocks"}, exclude_none=True)
        selection = PeftAdapter(self.tuner.name, values, config.targets, self.layers, getattr(config, "top_blocks", 0))
        return Parts(selection, Backprop(), named(config.optimizer), AsLoaded())

    def adapter_state(self, model: nn.Module) -> dict[str, Any]:
        """What peft itself would save, plus trained tensors it does not know of (a head beside an adapter)."""
        if self.tuner.prompt or self.card.family == "prompts":
            # peft keeps only what a prompt encoder gives, which cannot be trained on; some of it is frozen noise.
            noise = {n: p.detach() for n, p in model.named_parameters() if "prompt_encoder" in n.split(".")}
            return {**super().adapter_state(model), **noise}
        from peft import get_peft_model_state_dict

        state = dict(get_peft_model_state_dict(model))
        kept = {t.data_ptr() for t in state.values()}
        extra = {n: t for n, t in super().adapter_state(model).items() if t.data_ptr() not in kept}
        return {**state, **extra}

    def load_adapter(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """peft's own names go through peft, the others to the tensors they name."""
        from peft import set_peft_model_state_dict

        places = {n for n, _ in model.named_parameters()} | {n for n, _ in model.named_buffers()}
        named = {n: t for n, t in state.items() if n in places}
        super().load_adapter(model, named)
        rest = {n: t for n, t in state.items() if n not in named}
        if not rest:
            return
        try:
            unexpected = set_peft_model_state_dict(model, rest).unexpected_keys
        except (KeyError, RuntimeError):  # a tensor is missing, or of another shape
            unexpected = list(rest)
        if unexpected:
            raise BadInput("adapter", unexpected[0], f"a tensor of {self.name} attached to this model, of its shape")


def _card(tuner: Tuner, facts: dict[str, Any]) -> Card:
    cited = f"arXiv {tuner.cites}, as cited by peft" if tuner.cites else "documented by the peft library"
    prompt = tuner.prompt or facts.get("family") == "prompt"
    saves = (
        "Gradients and optimizer state; activations grow with the virtual tokens and stay on the whole path."
        if prompt
        else "Gradients and optimizer state; the saved activations of the whole backward path mostly stay."
    )
    return Card(
        title=facts.get("title", tuner.name.replace("_", " ")),
        family="prompts" if prompt else "adapters",
        paper=facts.get("paper", cited),
        summary=facts.get("summary", f"The {tuner.name} tuner of peft."),
        saves=facts.get("saves", saves),
        when=facts.get("when", ""),
        equation=facts.get("equation", ""),
    )


def _config(tuner: Tuner, facts: dict[str, Any]) -> type[MethodConfig]:
    defaults = facts.get("defaults", {})
    fields: dict[str, Any] = {
        "lr": (float, setting(facts.get("lr", 1e-3), "peak learning rate", gt=0, le=10)),
        "targets": (
            Literal["default", "linear"],
            setting("default", "peft's own choice of layers, or every linear layer of the blocks"),
        ),
    }
    if not tuner.prompt:
        about = "adapt only the deepest so many blocks; 0: all"
        fields["top_blocks"] = (int, setting(0, about, ge=0, le=200, unit="blocks"))
    if tuner.prompt:
        fields["num_virtual_tokens"] = (
            int,
            setting(8, "virtual tokens put in front", ge=1, le=1024, unit="tokens"),
        )
    for field in tuner.fields:
        if field.name not in _DECIDED and field.name not in MethodConfig.model_fields:
            fields[field.name] = (
                _annotation(field),
                setting(defaults.get(field.name, field.default), field.doc, **_bounds(field)),
            )
    return create_model(f"{tuner.config}Settings", __base__=MethodConfig, **fields)


def _bounds(field: TunerField) -> dict[str, float]:
    """What a number may be, by what its name says, as peft's configs accept any. The upper bounds keep a slip of the
    finger from asking for terabytes; a whole number is at least 1 unless peft's default is less."""
    if field.choices or field.type not in ("int", "float"):
        return {}
    if "dropout" in field.name:
        return {"ge": 0, "lt": 1}
    if field.name == "alpha" or field.name.endswith(("lora_alpha", "psoft_alpha", "shadow_alpha")):
        return {"gt": 0, "le": 2**16}
    if field.type == "float":
        return {}
    if field.name.endswith(("seed", "key")):
        return {"ge": 0, "le": 2**32 - 1}
    if any(word in field.name for word in ("warmup", "frozen", "niter", "lambda")):
        return {"ge": 0, "le": 2**16}
    least = 1 if field.default is None else min(1, field.default)
    return {"ge": least, "le": 2**24 if field.name == "n_frequency" else 2**16}


def _annotation(field: TunerField) -> Any:
    base: Any = (
        Literal[field.choices] if field.choices else {"int": int, "float": float, "bool": bool}.get(field.type, str)
    )
    return base | None if field.optional else base


for _tuner in tuners():
    _method = PeftMethod(_tuner)
    methods.add(_method.name, _method)
