"""Fill a built module with pretrained tensors from safetensors, copying each into memory of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from workbench.core.errors import BadInput, ResourceMissing
from workbench.models.base import ModelSpec

#: Tensors a checkpoint may have and we have no use for.
_UNUSED = ("pooler.", "embeddings.position_ids", "cls.", "lm_head.", "rotary_emb.inv_freq")


def place(spec: ModelSpec, *, weights: bool = True) -> Path:
    """Folder that holds the weights and tokenizer of a model."""
    scheme, _, rest = spec.asset.partition(":")
    if scheme == "path":
        return Path(rest)
    if scheme == "hub":
        from workbench.assets.sources import hub_snapshot

        return hub_snapshot(rest, weights=weights)
    from workbench.assets import locate

    return locate(spec.asset)


def load(spec: ModelSpec, model: nn.Module) -> None:
    """Copy the checkpoint into ``model``; every tensor of the backbone must be there and fit.

    Tensors are copied out of the mapped file: a mapped weight would not be memory of the allocator, and
    measured bytes would miss it.
    """
    state = _read(spec)
    if spec.config.get("model_type") == "efficientnet-lite":
        from workbench.models.efficientnet_lite import from_released_names

        state = from_released_names(state)
        target, fresh = model, _head_to_replace(model, state)
    else:
        target, fresh = (model if spec.writes else getattr(model, "encoder", model)), set()
    state = _aligned(state, target)
    try:
        missing, unexpected = target.load_state_dict({k: v for k, v in state.items() if k not in fresh}, strict=False)
    except RuntimeError as error:
        raise BadInput("model", spec.name, f"weights that fit the configuration ({_first(error)})") from error
    missing = [key for key in missing if key not in fresh and not _tied(target, key, state)]
    unexpected = [key for key in unexpected if not key.startswith(_UNUSED)]
    if missing or unexpected:
        raise BadInput(
            "model",
            spec.name,
            f"weights that fit the configuration; missing {missing[:3] or 'none'}, unknown {unexpected[:3] or 'none'}",
        )


def _read(spec: ModelSpec) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = place(spec)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ResourceMissing(f"{spec.name}: {folder} holds no .safetensors weights; other formats are not read")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            state |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise BadInput(
                "model", spec.name, f"whole weights; {file.name} cannot be read ({_first(error)})"
            ) from error
    return state


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _head_to_replace(model: nn.Module, state: dict[str, torch.Tensor]) -> set[str]:
    own = model.state_dict()
    heads = {key for key in own if key.startswith("classifier.")}
    return heads if any(key not in state or own[key].shape != state[key].shape for key in heads) else set()


def _aligned(state: dict[str, torch.Tensor], target: nn.Module) -> dict[str, torch.Tensor]:
    """Strip (or add) the family prefix, such as ``bert.``, that a checkpoint with another head carries."""
    own = set(target.state_dict())
    if own & set(state):
        return state
    prefix = getattr(target, "base_model_prefix", "")
    stripped = {key.removeprefix(prefix + "."): value for key, value in state.items()}
    return stripped if own & set(stripped) else {f"{prefix}.{key}": value for key, value in state.items()}


def _tied(target: nn.Module, key: str, state: dict[str, torch.Tensor]) -> bool:
    """Whether ``key`` shares its storage with a tensor that was loaded."""
    own = target.state_dict()
    return any(other != key and other in own and own[other].data_ptr() == own[key].data_ptr() for other in state)
