"""Next-token loss shared by the tasks that train a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.tasks.base import Batch, Task
from workbench.tasks.text import synthetic_text, text_length

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.models.base import ModelSpec

IGNORED = -100


def next_token_loss(model: nn.Module, batch: Batch, reduction: str = "mean") -> Tensor:
    """Cross-entropy of each counted label given the tokens before it; ``labels`` are aligned with ``input_ids``.

    Only ``input_ids`` go to the model: padding stands on the right and is not counted, so a causal model
    never looks at it, and without a mask the attention kernel and its memory do not depend on the data. The
    labels are shifted rather than the logits, because a sliced copy of the logits would double them. A model of
    encoder and decoder is given all, its mask too, and its labels stand where they are predicted already.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from workbench.nn.chunked_loss import deferring_head

    labels = batch["labels"]
    head = deferring_head(model)
    with nullcontext() if head is None else head.deferred():
        logits = model(**_given(batch)).logits
    if logits.shape[1] != labels.shape[1]:  # virtual tokens of prompt tuning stand in front
        logits = logits[:, -labels.shape[1] :]
    targets = labels
    if "decoder_input_ids" not in batch:
        end = torch.full_like(labels[:, :1], IGNORED)
        targets = torch.cat([labels[:, 1:], end], 1)
    if head is not None:  # what came out are hidden states: their logits are made a few tokens at a time
        return head.loss(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), IGNORED, reduction)
    return cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction=reduction
    )


def _given(batch: Batch) -> Batch:
    """What the model sees of a batch."""
    names = [n for n in batch if n != "labels"] if "decoder_input_ids" in batch else ["input_ids"]
    return {name: batch[name] for name in names}


def exact_match_error(model: nn.Module, batch: Batch) -> Tensor:
    """Share of examples of which the model, given what stands before, would get any counted token wrong."""
    labels = batch["labels"]
    guesses = model(**_given(batch)).logits[:, -labels.shape[1] :].argmax(-1)
    if "decoder_input_ids" not in batch:
        guesses, labels = guesses[:, :-1], labels[:, 1:]
    wrong = (guesses != labels) & (labels != IGNORED)
    return wrong.any(1).float().mean()


class LanguageModelling(Task):
    """Base of tasks for causal language models: examples hold ``input_ids``, ``attention_mask``, ``labels``."""

    kinds = ("causal-lm",)
    objective = "generation"
    default_length: ClassVar[int] = 128
    default_batch = 8

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import torch

        return {
            name: torch.tensor([example[name] for example in examples], dtype=torch.int64)
            for name in ("input_ids", "attention_mask", "labels")
        }

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return next_token_loss(model, batch)

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return exact_match_error(model, batch)

    def length(self, model: ModelSpec) -> int:
        return text_length(self.name, None, self.default_length, model)

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        return synthetic_text(model, batch, text_length(self.name, length, self.default_length, model), None)
