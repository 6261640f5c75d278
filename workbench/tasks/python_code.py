"""Language modelling on the standard library's own source, held out by file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Metrics, Sizes, TaskData, register
from workbench.tasks.classification import evaluating
from workbench.tasks.content import fingerprint, size_of
from workbench.tasks.language import LanguageModelling, next_token_loss
from workbench.tasks.text import text_length

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.base import ModelSpec

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "__pycache__"}
HELD_OUT = 0.1  # share of the files


def source_files(root: Path) -> list[Path]:
    """The library's source files without its tests and what is installed beside it, in a fixed order."""
    return sorted(p for p in root.rglob("*.py") if not SKIPPED & set(p.relative_to(root).parts[:-1]))


def windows(files: Sequence[Path], tokenizer: Any, length: int, wanted: int) -> list[dict[str, Any]]:
    """Up to ``wanted`` windows of ``length`` tokens that do not overlap; a file's unfilled last window is left out.

    Each also holds the number of UTF-8 bytes that its predicted tokens (all but the first) stand for.
    """
    found: list[dict[str, Any]] = []
    for file in files:
        text = file.read_text("utf-8", "replace")
        coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, places = coded["input_ids"], coded["offset_mapping"]
        for start in range(0, len(ids) - length + 1, length):
            taken = ids[start : start + length]
            size = len(text[places[start + 1][0] : places[start + length - 1][1]].encode())
            found.append({"input_ids": taken, "attention_mask": [1] * length, "labels": taken, "bytes": size})
            if len(found) == wanted:
                return found
    return found


@register
class PythonCode(LanguageModelling):
    name = "python-code"
    title = "Python source"
    doc = "Predict the next token of the standard library's source; held out by file, scored in bits per byte."
    metric = "bits per byte"
    assets = ("python-source",)
    default_model = "tiny-llama"
    defaults = (400, 60)

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        from workbench.assets import locate

        self.check(model)
        length = text_length(self.name, sizes.length, self.default_length, model)
        files = source_files(locate("python-source"))
        if len(files) < 2:
            raise BadInput(
                "data", self.name, f"at least 2 source files, found {len(files)}; this Python came without them"
            )
        longest = sum(file.stat().st_size for file in files) // length  # no token is shorter than one byte
        for part, asked in (("train", sizes.train), ("test", sizes.test)):
            size_of(self.name, part, asked, 1, longest)
        order = np.random.default_rng(derive(seed, "split", self.name)).permutation(len(files))
        held = max(1, round(HELD_OUT * len(files)))
        tokenizer, parts = model.tokenizer(), []
        chosen = (("train", order[held:], sizes.train), ("test", order[:held], sizes.test))
        for (part, indices, asked), default in zip(chosen, self.defaults):
            found = windows([files[i] for i in indices], tokenizer, length, max(default, asked or 0))
            parts.append(found[: size_of(self.name, part, asked, default, len(found))])
        described = f"by file: {held} of {len(files)} files held out, seeded; {len(parts[0])} / {len(parts[1])} windows"
        return TaskData(parts[0], parts[1], None, (), fingerprint(*parts), "every token but the first", described, seed)

    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 32) -> Metrics:
        total, tokens = 0.0, 0
        with evaluating(model):
            for start in range(0, len(data.test), batch):
                made = self.collate(data.test[start : start + batch], spec)
                total += float(next_token_loss(model, made, "sum"))
                tokens += made["labels"][:, 1:].numel()
        loss, size = total / tokens, sum(int(example["bytes"]) for example in data.test)
        bits = total / math.log(2) / size
        details = {"loss": loss, "tokens": float(tokens)}
        return Metrics(self.metric, bits, len(data.test), details, lower_is_better=True, share=False)
