"""Any transformers model: a folder with a ``config.json``, or a repository of a hub. Data only, never its code."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput, ResourceMissing
from workbench.models.base import Kind, ModelSpec
from workbench.models.bounds import objection
from workbench.models.kinds import kind_of
from workbench.models.shortfall import shortfall

if TYPE_CHECKING:
    from torch import nn

LARGEST_CONFIGURATION = 2**20  #: bytes


def from_folder(place: str) -> ModelSpec:
    """The model of a folder. Without weights in it the module is made from seeded random numbers.

    Raises ``BadInput`` when there is no readable configuration or transformers does not know its type.
    """
    try:
        folder = Path(place).expanduser()
        folder.exists()
    except (ValueError, OSError, RuntimeError):  # a NUL, a name too long, an account that is not there
        raise BadInput("model", f"path:{place}", "the path of a folder") from None
    config = _configuration(f"path:{place}", folder)
    has_weights = any(folder.glob("*.safetensors"))
    other = [p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for p in folder.glob(pattern)]
    if other and not has_weights:
        raise BadInput(
            "model",
            f"path:{place}",
            f"weights as .safetensors; {other[0]} may be a pickle, which can run code when loaded",
        )
    return _spec(f"path:{place}", config, f"path:{folder.resolve()}" if has_weights else "")


def from_hub(identifier: str) -> ModelSpec:
    """The model of a hub repository; its configuration is fetched now, its weights when they are needed."""
    from workbench.assets.sources import hub_snapshot

    config = _configuration(f"hub:{identifier}", hub_snapshot(identifier, weights=False))
    return _spec(f"hub:{identifier}", config, f"hub:{identifier}")


def _configuration(name: str, folder: Path) -> dict[str, Any]:
    try:
        file = folder / "config.json"
        if file.stat().st_size > LARGEST_CONFIGURATION:
            raise BadInput("model", name, "a config.json of at most 1 MiB")
        config = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput("model", name, "a folder with a transformers config.json") from None
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput("model", name, f"a readable config.json ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadInput("model", name, "a config.json with a model_type")
    wrong = objection(config)
    if wrong:
        raise BadInput("model", name, wrong)
    if "auto_map" in config:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if config["model_type"] not in CONFIG_MAPPING_NAMES:
            raise BadInput("model", name, "a model that needs no code of its own (auto_map is never followed)")
        config = {key: value for key, value in config.items() if key != "auto_map"}
    return config


def _spec(name: str, config: dict[str, Any], asset: str) -> ModelSpec:
    if config["model_type"] == "efficientnet-lite":
        return _inverted_residual(name, config, asset)
    if config["model_type"] == "denoiser":
        return _denoiser(name, config, asset)
    _check_type(name, config)
    title = str(config.get("_name_or_path") or name)
    doc = f"{config['model_type']} from {name}" + ("" if asset else "; no weights there, so seeded random ones")
    try:
        kind, shape, stated = _read(name, config)
        owner = "as stated by its owner"
        spec = ModelSpec(name, title, kind, 0, owner, doc, asset=asset, shape=shape, config={**config, **stated})
        model = spec.build(None if spec.writes else 2, device="meta", weights=False)
    except (BadInput, ResourceMissing):
        raise
    except Exception as error:  # a wrong number in a configuration fails anywhere inside transformers
        raise BadInput("model", name, shortfall(error, config)) from error
    if spec.modality == "text":
        spec = replace(spec, shape=(_positions(model, shape[0]),), position_table=has_position_table(model))
    head = 0 if spec.writes else sum(p.numel() for p in model.classifier.parameters())
    return replace(spec, parameters=sum(p.numel() for p in model.parameters()) - head)


def _positions(model: nn.Module, stated: int) -> int:
    """Tokens that it has positions for: a table with a row for padding counts from behind that row."""
    tables = [m for n, m in model.named_modules() if n.endswith("position_embeddings")]
    rows = [m.weight.shape[0] - m.padding_idx - 1 for m in tables if getattr(m, "padding_idx", None) is not None]
    return min([stated, *rows])


def has_position_table(model: nn.Module) -> bool:
    """Whether a row is looked up for every position: then there is none past the last, unlike with rotations."""
    from torch import Tensor
    from torch.nn import Embedding

    return any(
        (isinstance(m, Embedding) and any(word in n.rpartition(".")[2] for word in ("position", "wpe")))
        or any(isinstance(getattr(m, name, None), Tensor) for name in ("embed_positions", "pos_encoding"))
        for n, m in model.named_modules()
    )


def _check_type(name: str, config: dict[str, Any]) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if config["model_type"] not in CONFIG_MAPPING_NAMES:
        raise BadInput("model", name, f"a model_type transformers knows, not {config['model_type']!r}")
    if kind_of(config) is None:
        served = "a model that reads texts, writes texts or classifies pictures, by that alone"
        raise BadInput(
            "model",
            name,
            f"{served}; {config['model_type']} is another kind (sound, video, several inputs, places of answers)",
        )


def _read(name: str, config: dict[str, Any]) -> tuple[Kind, tuple[int, ...], dict[str, Any]]:
    """Kind, shape of an example, and numbers that tasks ask for, with transformers' defaults where they are unsaid."""
    from workbench.models.build import configuration_of

    whole, _ = configuration_of(name, config)
    kind = kind_of(config)
    assert kind is not None
    if kind != "image-classifier":
        positions = int(getattr(whole, "max_position_embeddings", None) or config.get("n_positions") or 0)
        positions = positions if positions > 0 else 2048  # no table of positions, so no limit
        # A model that reads characters (CANINE) has no table of words: its tokens are code points.
        vocabulary = getattr(whole.get_text_config(), "vocab_size", None) or sys.maxunicode + 1
        return kind, (positions,), {"vocab_size": int(vocabulary)}
    side = _first(getattr(whole, "image_size", None) or 224)
    return kind, (int(getattr(whole, "num_channels", 3)), side, side), {}


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)


def _inverted_residual(name: str, config: dict[str, Any], asset: str) -> ModelSpec:
    """A net of our own kind; beside its fields the configuration says in ``shape`` what one example looks like."""
    kind: Kind = "sensor-classifier" if config.get("signal") else "image-classifier"
    shape = config.get("shape")
    expected = 2 if config.get("signal") else 3
    if not (isinstance(shape, list) and len(shape) == expected and all(isinstance(n, int) and n > 0 for n in shape)):
        raise BadInput("model", name, f"a config.json whose shape is {expected} positive whole numbers")
    own = {key: value for key, value in config.items() if key != "shape"}
    title = str(config.get("title") or "Inverted-residual net from a folder")
    spec = ModelSpec(name, title, kind, 0, "as stated by its owner", title, asset=asset, shape=tuple(shape), config=own)
    try:
        model = spec.build(2, device="meta", weights=False)
    except Exception as error:  # a field that is missing or of a wrong type fails anywhere inside
        raise BadInput("model", name, f"an inverted-residual net ({type(error).__name__}: {error})") from error
    head = sum(p.numel() for p in model.classifier.parameters())
    return replace(spec, parameters=sum(p.numel() for p in model.parameters()) - head)


def _denoiser(name: str, config: dict[str, Any], asset: str) -> ModelSpec:
    """A diffusion transformer of our own kind; like an inverted-residual net it says its ``shape``."""
    own = {key: value for key, value in config.items() if key not in ("shape", "title")}
    title = str(config.get("title") or "Diffusion transformer from a folder")
    shape = config.get("shape")
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise BadInput("model", name, "a config.json whose shape is 3 positive whole numbers")
    spec = ModelSpec(
        name, title, "image-denoiser", 0, "as stated by its owner", title, asset=asset, shape=tuple(shape), config=own
    )
    try:
        model = spec.build(2, device="meta", weights=False)
    except Exception as error:  # a field that is missing or of a wrong type fails anywhere inside
        raise BadInput("model", name, f"a diffusion transformer ({type(error).__name__}: {error})") from error
    return replace(spec, parameters=sum(p.numel() for n, p in model.named_parameters() if n != "tokens.weight"))
