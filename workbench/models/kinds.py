"""Which kind of model a transformers configuration describes, by transformers' own tables of what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.models.base import Kind

#: Endings of a class name in ``architectures``, which go before what the ``model_type`` says.
_ENDINGS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("ForCausalLM", "LMHeadModel"), "causal-lm"),
    (("ForImageClassification",), "image-classifier"),
)
#: What a ``model_type`` is, by the first table that has it: one that can mask words is an encoder first.
_TABLES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("seq2seq-lm", ("FOR_SEQ_TO_SEQ_CAUSAL_LM",)),
    ("text-encoder", ("FOR_MASKED_LM", "FOR_TEXT_ENCODING")),
    ("causal-lm", ("FOR_CAUSAL_LM",)),
    ("image-classifier", ("FOR_IMAGE_CLASSIFICATION", "FOR_IMAGE")),
    ("text-encoder", ("FOR_SEQUENCE_CLASSIFICATION",)),
)
#: Tables of models that need sound, frames or several kinds of input at once, which no task here gives them.
_NOT_SERVED = ("FOR_SPEECH_SEQ_2_SEQ", "FOR_IMAGE_TEXT_TO_TEXT", "FOR_MULTIMODAL_LM", "FOR_VIDEO_CLASSIFICATION")


def kind_of(config: Mapping[str, Any]) -> Kind | None:
    """The kind, or ``None`` for sound, video, several inputs at once and whatever else no task here serves."""
    architecture = str((config.get("architectures") or [""])[0])
    for endings, kind in _ENDINGS:
        if architecture.endswith(endings):
            return kind
    name = config["model_type"]
    if any(name in _table(table) for table in _NOT_SERVED):
        return None
    return next((kind for kind, tables in _TABLES if any(name in _table(table) for table in tables)), None)


def _table(name: str) -> Mapping[str, Any]:
    from transformers.models.auto import modeling_auto

    found: Mapping[str, Any] = getattr(modeling_auto, f"MODEL_{name}_MAPPING_NAMES", {})
    return found
