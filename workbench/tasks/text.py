"""Text classification: tokens padded to one fixed length, one label per text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.errors import BadInput
from workbench.tasks.base import Batch, Lengths, Sizes, TaskData
from workbench.tasks.classification import MASK, Classification
from workbench.tasks.content import check_labels, fingerprint

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec

Labelled = Sequence[tuple[str, int]]


def text_length(task: str, asked: int | None, default: int, model: ModelSpec) -> int:
    """Tokens per example: what was asked for, else the task's default, within what the model can take."""
    least, longest, words = lengths_of(model)
    value = min(default, longest) if asked is None else asked
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= longest:
        raise BadInput(f"{task}.length", asked, words)
    return value


def lengths_of(model: ModelSpec) -> Lengths:
    """Fewest and most tokens that a text model can take, and the words for them."""
    longest = model.shape[0] if model.shape else 512
    return 4, longest, f"4 to {longest} tokens, what {model.name} has positions for"


class TextClassification(Classification):
    """Base of text classification tasks.

    Every text is cut or padded to the task's length. Padding to the longest text of a batch would be cheaper
    on average, but then the shapes, and the memory, of a step would depend on the draw: fixed shapes are what
    makes a prediction exact.
    """

    kinds = ("text-encoder",)
    default_model = "minilm"
    default_length: ClassVar[int] = 40
    labels: ClassVar[tuple[str, ...]]

    def encode(
        self, model: ModelSpec, train: Labelled, test: Labelled, sizes: Sizes, *, split: str, seed: int
    ) -> TaskData:
        """Tokenised, checked and hashed data from labelled texts."""
        length = text_length(self.name, sizes.length, self.default_length, model)
        check_labels(self.name, (label for _, label in train), "training")
        check_labels(self.name, (label for _, label in test), "test", single=True)
        tokenizer = model.tokenizer()
        parts, cut = [], 0
        for rows in (train, test):
            full = tokenizer([text for text, _ in rows], padding="max_length", truncation=True, max_length=length)
            cut += sum(mask[-1] for mask in full["attention_mask"])
            parts.append(
                [
                    {"input_ids": ids, "attention_mask": mask, "labels": label}
                    for ids, mask, (_, label) in zip(full["input_ids"], full["attention_mask"], rows)
                ]
            )
        share = cut / (len(train) + len(test))
        notes = (f"{share:.0%} of the texts fill all {length} tokens and may be cut",)
        return TaskData(
            parts[0], parts[1], len(self.labels), self.labels, fingerprint(*parts), MASK, split, seed, notes
        )

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import torch

        return {
            name: torch.tensor([example[name] for example in examples], dtype=torch.int64)
            for name in ("input_ids", "attention_mask", "labels")
        }

    def length(self, model: ModelSpec) -> int:
        return text_length(self.name, None, self.default_length, model)

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        return synthetic_text(
            model, batch, text_length(self.name, length, self.default_length, model), len(self.labels)
        )


def synthetic_text(model: ModelSpec, batch: int, length: int, classes: int | None) -> Batch:
    """Token batch of the given shape; ``classes=None`` labels every token. Uses no random numbers."""
    import torch

    check_batch(batch)
    vocabulary = int(model.config.get("vocab_size", 256))
    ids = (torch.arange(batch * length, dtype=torch.int64) % vocabulary).reshape(batch, length)
    labels = ids.clone() if classes is None else torch.arange(batch, dtype=torch.int64) % classes
    return {"input_ids": ids, "attention_mask": torch.ones(batch, length, dtype=torch.int64), "labels": labels}


def check_batch(batch: int) -> None:
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise BadInput("batch", batch, "a whole number of at least 1")
