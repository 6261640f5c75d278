"""Synthetic token batches of any shape, for questions of cost only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.seeds import derive
from workbench.tasks.base import Batch, Metrics, Sizes, TaskData, register
from workbench.tasks.classification import evaluating, label_error, label_loss
from workbench.tasks.content import fingerprint
from workbench.tasks.language import LanguageModelling, exact_match_error, next_token_loss
from workbench.tasks.text import synthetic_text, text_length

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.models.base import ModelSpec

CLASSES = 2


@register
class Tokens(LanguageModelling):
    """For encoders the labels are two classes, for models that write every next token.

    A model of encoder and decoder is given the same tokens on both sides, the decoder's one place later.
    """

    name = "tokens"
    title = "Synthetic tokens"
    doc = "Random tokens of any batch and length: what a step costs, never how well a model learns."
    kinds = ("text-encoder", "causal-lm", "seq2seq-lm")
    metric = "loss"
    default_model = "minilm"
    objective = "classification"

    def classes(self, model: ModelSpec) -> int | None:
        return None if model.writes else CLASSES

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        self.check(model)
        length = text_length(self.name, sizes.length, self.default_length, model)
        rng = np.random.default_rng(derive(seed, self.name))
        language = model.writes
        parts = []
        for count in (sizes.train or 64, sizes.test or 16):
            ids = rng.integers(0, int(model.config["vocab_size"]), (count, length))
            parts.append(
                [
                    {"input_ids": x, "attention_mask": [1] * length, **self._answer(model, x, i)}
                    for i, x in enumerate(ids.tolist())
                ]
            )
        return TaskData(
            parts[0], parts[1], None if language else CLASSES, () if language else ("a", "b"), fingerprint(*parts),
            "every token" if language else "every label", "synthetic random tokens", seed,
            ("synthetic data: scores on it mean nothing",),
        )  # fmt: skip

    @staticmethod
    def _answer(model: ModelSpec, ids: list[int], i: int) -> dict[str, Any]:
        if model.kind == "seq2seq-lm":
            return {"decoder_input_ids": [begin(model), *ids[:-1]], "labels": ids}
        return {"labels": ids if model.writes else i % CLASSES}

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import torch

        return {name: torch.tensor([e[name] for e in examples], dtype=torch.int64) for name in examples[0]}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if batch["labels"].dim() == 1:
            return label_loss(model, batch)
        return next_token_loss(model, batch)

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return (label_error if batch["labels"].dim() == 1 else exact_match_error)(model, batch)

    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 32) -> Metrics:
        total = 0.0
        with evaluating(model):
            for start in range(0, len(data.test), batch):
                made: Sequence[Mapping[str, Any]] = data.test[start : start + batch]
                total += float(self.loss(model, self.collate(made, spec))) * len(made)
        return Metrics(self.metric, total / len(data.test), len(data.test), {}, lower_is_better=True, share=False)

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        length = text_length(self.name, length, self.default_length, model)
        made = synthetic_text(model, batch, length, None if model.writes else CLASSES)
        return shifted(made, model) if model.kind == "seq2seq-lm" else made


def begin(model: ModelSpec) -> int:
    """The token that a decoder begins with."""
    return int(model.config.get("decoder_start_token_id") or 0)


def shifted(batch: Batch, model: ModelSpec) -> Batch:
    """The batch with what the decoder is given: the labels, one place later."""
    import torch

    labels = batch["labels"]
    first = torch.full_like(labels[:, :1], begin(model))
    return {**batch, "decoder_input_ids": torch.cat([first, labels[:, :-1]], 1)}
