"""From a ModelSpec to a module: on meta without weights, or real with pretrained or seeded weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from workbench.core.errors import BadInput, ResourceMissing
from workbench.core.seeds import derive
from workbench.models.base import ModelSpec

_OWN = ("efficientnet-lite", "convolution-1d", "denoiser")
#: Files that a tokenizer can be read from.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "tokenizer.model",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def build(spec: ModelSpec, classes: int | None, *, device: str, weights: bool, seed: int) -> nn.Module:
    """See :meth:`ModelSpec.build`. Weights are float32 unless the configuration names another ``dtype``."""
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise BadInput("classes", classes, "a positive number of classes, or None for a language-model head")
    if classes is None and not spec.writes:
        raise BadInput("classes", classes, f"a number of classes, since {spec.name} is of kind {spec.kind}")
    on_meta = torch.device(device).type == "meta"
    stored = bool(weights and spec.asset and not on_meta)
    if weights and spec.cost_only and not on_meta:
        raise ResourceMissing(f"{spec.name} ships as shapes only; it can be predicted but not trained or measured here")
    with torch.device("meta") if on_meta else nullcontext(), _seeded(derive(seed, "model", spec.name)):
        if spec.config.get("model_type") in _OWN:
            body: nn.Module = nn.Identity()
        else:
            with _uninitialised() if stored or on_meta else nullcontext():
                body = _body(spec, classes)
        if hasattr(body, "tie_weights"):  # skipped together with the initialisation
            body.tie_weights()
        model = _with_head(spec, body, classes)
    if stored:
        from workbench.models.weights import load

        load(spec, model)
    model.pintpot_pretrained = bool(spec.asset)  # type: ignore[assignment]
    return model if on_meta else model.to(device)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _uninitialised() -> Iterator[None]:
    """Skip random initialisation of what the checkpoint overwrites (or what has no storage)."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        yield


def _body(spec: ModelSpec, classes: int | None) -> nn.Module:
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = spec.config.get("model_type")
    configuration, dtype = configuration_of(spec.name, spec.config)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    writers = {"causal-lm": AutoModelForCausalLM, "seq2seq-lm": AutoModelForSeq2SeqLM}
    factory: Any = AutoModel if classes is not None else writers[spec.kind]
    if kind in ("bert", "roberta", "vit", "deit") and factory is AutoModel:
        options["add_pooling_layer"] = False
    try:
        return factory.from_config(configuration, **options)
    except ValueError as error:
        if "scaled_dot_product" not in str(error):
            raise BadInput("model", spec.name, f"a configuration transformers can build ({error})") from error
        return factory.from_config(configuration, **{**options, "attn_implementation": "eager"})


def configuration_of(name: str, config: Mapping[str, Any]) -> tuple[Any, torch.dtype]:
    """A transformers configuration from plain data, and the number format of the weights."""
    from transformers import AutoConfig

    plain = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype", "model_type")}
    asked = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, str(asked).removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise BadInput("model", name, f"a configuration with a known dtype, not {asked!r}")
    configuration = AutoConfig.for_model(config["model_type"], **plain)
    configuration.use_cache = False
    return configuration, dtype


def _with_head(spec: ModelSpec, body: nn.Module, classes: int | None) -> nn.Module:
    if classes is None:
        return body
    kind = spec.config.get("model_type")
    if kind == "efficientnet-lite":
        from workbench.models.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(spec.config, classes, spec.shape[0])
    if kind == "convolution-1d":
        from workbench.models.sensor import SensorClassifier

        return SensorClassifier(spec.config, classes)
    if kind == "denoiser":
        from workbench.models.denoiser import Denoiser

        return Denoiser(spec.config, classes, spec.shape)
    from workbench.models.wrappers import ImageClassifier, TextClassifier

    if spec.modality != "image":
        return TextClassifier(body, classes)
    return ImageClassifier(body, classes, spec.shape)


def tokenizer(spec: ModelSpec) -> Any:
    """See :meth:`ModelSpec.tokenizer`."""
    if spec.modality != "text":
        raise BadInput("model", spec.name, "a text model, since only those have a tokenizer")
    if spec.cost_only:
        raise ResourceMissing(
            f"{spec.name} ships as shapes only, without a tokenizer; use the task tokens for cost questions"
        )
    found = _tokenizer(spec)
    vocabulary = spec.config.get("vocab_size")
    if isinstance(vocabulary, int) and len(found) > vocabulary:
        whose = "its tokenizer" if spec.asset else "the tokenizer of models without weights"
        expected = f"a vocab_size of at least {len(found)}, the entries of {whose}; the task tokens needs no tokenizer"
        raise BadInput("model", spec.name, expected)
    return found


def _tokenizer(spec: ModelSpec) -> Any:
    if not spec.asset:
        from workbench.models.tiny_tokenizer import load

        return load()
    from transformers import AutoTokenizer

    from workbench.models.weights import place

    folder = place(spec)
    if not any((folder / name).is_file() for name in _VOCABULARIES):  # transformers would make up an empty one
        raise ResourceMissing(
            f"{spec.name}: {folder} holds weights but no tokenizer ({', '.join(_VOCABULARIES[:3])}, ...), which texts "
            "need; the task tokens needs none"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ResourceMissing(f"{spec.name}: no usable tokenizer in {folder} ({first})") from error
