"""A folder with an adapter: ours for any method, or one that peft's ``save_pretrained`` wrote for LoRA.

Whatever it says is checked against schemas of our own first; peft is given settings that we validated and tensors
whose names, shapes and numbers we looked at, never the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.adapters.tensor_file import finite, named_once
from workbench.core.config import Config, setting, validated
from workbench.core.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from workbench.case import Case

TENSORS, OURS, PEFTS = "adapter_model.safetensors", "pintpot.json", "adapter_config.json"
LARGEST_CARD = 2**20  #: bytes of a description


class OwnCard(Config):
    """``pintpot.json``. ``model`` and ``task`` are labels: nothing is looked up by them."""

    schema_version: Literal[1] = setting(1, "version of this description")
    method: str = setting("", "method that was trained")
    settings: dict[str, Any] = setting({}, "its settings")
    model: str = setting("", "model it was trained on")
    task: str = setting("", "task it was trained for")
    sha256: str = setting("", "of the tensors")


class LoraCard(Config):
    """What of peft's LoRA we serve. Every other field must stand at the value that switches it off."""

    peft_type: Literal["LORA"]
    r: int = setting(8, "rank", ge=1, le=1024)
    lora_alpha: float = setting(8, "scale", gt=0, le=100_000)
    lora_dropout: float = setting(0.0, "dropout", ge=0, le=0.99)
    use_rslora: bool = setting(False, "scale by the root of the rank")
    use_dora: bool = setting(False, "magnitudes apart from directions")
    target_modules: list[str] = setting([], "names of layers; no pattern")
    modules_to_save: list[str] | None = setting(None, "layers trained in full")
    task_type: Literal["SEQ_CLS", "CAUSAL_LM", "TOKEN_CLS", "FEATURE_EXTRACTION"] | None = setting(None, "kind of head")
    bias: Literal["none"] = setting("none", "biases trained along")
    inference_mode: bool = setting(True, "saved for use")
    base_model_name_or_path: str | None = setting(None, "label of the model; never looked up")
    peft_version: str | None = setting(None, "version that wrote it")


#: Fields of peft that are let pass when, and only when, they hold the value that does nothing.
_OFF: dict[str, tuple[Any, ...]] = {
    "megatron_core": (None, "megatron.core"),
    "init_lora_weights": (True,),
    "qalora_group_size": (16,),
    **{
        name: (None, False, {}, [])
        for name in [
            "auto_mapping",
            "revision",
            "exclude_modules",
            "fan_in_fan_out",
            "layers_to_transform",
            "layers_pattern",
            "rank_pattern",
            "alpha_pattern",
            "megatron_config",
            "trainable_token_indices",
            "loftq_config",
            "eva_config",
            "corda_config",
            "lora_ga_config",
            "velora_config",
            "alora_invocation_tokens",
            "use_qalora",
            "monteclora_config",
            "layer_replication",
            "lora_bias",
            "target_parameters",
            "use_bdlora",
            "arrow_config",
            "kasa_config",
            "ensure_weight_tying",
        ]
    },
}


@dataclass(frozen=True)
class Adapter:
    """A description that was found sound, with the folder its tensors lie in."""

    folder: Path
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def load_into(self, case: Case, model: nn.Module) -> None:
        """Put the tensors into a model that ``case`` attached. Raises ``BadInput`` and changes nothing where they do
        not belong there."""
        state = case.method.adapter_state(model)
        wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
        tensors = finite(self.folder / TENSORS, "adapter", wanted)
        if self.sha256 and _digest(self.folder / TENSORS) != self.sha256:
            raise BadInput("adapter", TENSORS, "the tensors its description was written for; they were changed")
        case.method.load_adapter(model, {name: t.to(state[name].dtype) for name, t in tensors.items()})

    def digest(self) -> str:
        """SHA-256 of the tensors as they lie there."""
        return _digest(self.folder / TENSORS)


def read(folder: Path) -> Adapter:
    """The adapter of a folder, by its description alone; raises ``BadInput`` with every problem at once."""
    if (folder / OURS).exists():
        card = validated(OwnCard, _json(folder / OURS), "adapter")
        from workbench.methods.base import methods

        method = methods.get(card.method)
        return Adapter(folder, card.method, _settings(method, card.settings), card.sha256)
    values = _json(folder / PEFTS)
    kept = {n: v for n, v in values.items() if not any(v is off or v == off for off in _OFF.get(n, ()))}
    known = validated(LoraCard, kept, "adapter")
    taken = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora")
    from workbench.methods.base import methods

    return Adapter(folder, "lora", _settings(methods.get("lora"), {n: getattr(known, n) for n in taken}))


def _settings(method: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Settings as the method's own config takes them; whole numbers stay whole where it wants them so."""
    fields = method.Config.model_fields
    values = {
        n: int(v) if isinstance(v, float) and v.is_integer() and n in fields and fields[n].annotation is int else v
        for n, v in values.items()
    }
    method.configure(**values)
    return values


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.is_symlink() or file.stat().st_size > LARGEST_CARD:
            raise BadInput("adapter", file.name, "a plain file of at most 1 MiB")
        found = json.loads(file.read_text("utf-8"), object_pairs_hook=named_once)
    except OSError:
        raise BadInput("adapter", file.parent.name, f"a folder with {OURS} or {PEFTS}") from None
    except (ValueError, RecursionError):
        raise BadInput("adapter", file.name, "readable JSON") from None
    if not isinstance(found, dict):
        raise BadInput("adapter", file.name, "a JSON object")
    return found


def _digest(file: Path) -> str:
    if not file.is_file():
        raise BadInput("adapter", file.parent.name, f"a folder with {TENSORS}")
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(case: Case, model: nn.Module, folder: Path) -> Path:
    """Write the trained part beside ``folder`` and rename it into place; peft's own description along with ours.

    Raises ``BadInput`` where ``folder`` exists: an adapter is never written over.
    """
    from safetensors.torch import save_file

    folder = folder.expanduser().absolute()
    if folder.exists():
        raise BadInput("export", folder.name, "a folder that does not exist yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        state = case.method.adapter_state(model)
        save_file({n: t.detach().clone().contiguous() for n, t in state.items()}, scratch / TENSORS)
        card = {"schema_version": 1, "method": case.method_name, "settings": case.config.model_dump(),
                "model": case.spec.title, "task": case.task_name, "sha256": _digest(scratch / TENSORS)}  # fmt: skip
        (scratch / OURS).write_text(json.dumps(card, indent=1) + "\n", "utf-8")
        _peft_description(model, scratch)
        for file in scratch.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        scratch.chmod(0o755)
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def _peft_description(model: nn.Module, folder: Path) -> None:
    """What peft needs to read it, without the folder the model came from."""
    configs = getattr(model, "peft_config", None)
    if not isinstance(configs, dict):
        return
    values = {n: sorted(v) if isinstance(v, set) else v for n, v in configs["default"].to_dict().items()}
    values |= {"base_model_name_or_path": None, "inference_mode": True}
    (folder / PEFTS).write_text(json.dumps(values, indent=1, default=str) + "\n", "utf-8")
