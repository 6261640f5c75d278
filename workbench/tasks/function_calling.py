"""Function calling: write the one call, as JSON, that serves a request (BFCL, simple Python calls)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.tasks.base import Metrics, Sizes, TaskData, register
from workbench.tasks.call_match import Verdict, first_answer, judge
from workbench.tasks.classification import evaluating
from workbench.tasks.content import check_rows, fingerprint, split
from workbench.tasks.language import IGNORED, LanguageModelling, next_token_loss
from workbench.tasks.text import text_length

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from workbench.models.base import ModelSpec

ROWS = 400
NEW_TOKENS = 96  # or the longest wanted answer if that is longer; running into the limit is counted


def read_calls(folder: Path, task: str) -> list[dict[str, Any]]:
    """Rows of ``request``, ``function``, ``name`` and ``wanted`` arguments."""
    parts = []
    for file in ("simple_python.jsonl", "simple_python_answers.jsonl"):
        try:
            parts.append([json.loads(line) for line in (folder / file).read_text("utf-8").splitlines() if line.strip()])
        except ValueError as error:
            raise BadInput("data", task, f"a whole {file}; it is truncated ({error})") from error
        check_rows(task, len(parts[-1]), ROWS, file)
    answers = {row["id"]: row["ground_truth"][0] for row in parts[1]}
    rows = []
    for row in parts[0]:
        ((name, wanted),) = answers[row["id"]].items()
        request = row["question"][0][-1]["content"]
        rows.append({"request": request, "function": row["function"][0], "name": name, "wanted": wanted})
    return rows


def prompt_of(row: Mapping[str, Any]) -> str:
    """What the model is asked: the function with its parameters' types, then the request."""
    function = row["function"]
    required = function["parameters"].get("required", [])
    parameters = ", ".join(
        f"{name}: {about['type']}{'' if name in required else ' (optional)'}"
        for name, about in function["parameters"]["properties"].items()
    )
    return (
        f"Function {function['name']}: {function['description']}\nParameters: {parameters}\n"
        f'Request: {row["request"]}\nAnswer with the call as JSON: {{"name": ..., "arguments": {{...}}}}'
    )


@register
class FunctionCalling(LanguageModelling):
    name = "function-calling"
    title = "Function calling"
    doc = "Write the JSON call that serves a request; 400 requests of the Berkeley leaderboard's simple Python set."
    metric = "exact calls"
    assets = ("bfcl",)
    default_model = "smollm2"
    default_length = 256
    default_batch = 2
    defaults = (300, 100)

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        from workbench.assets import locate

        self.check(model)
        length = text_length(self.name, sizes.length, self.default_length, model)
        rows = read_calls(locate("bfcl"), self.name)
        examples = list(self._encode(rows, model.tokenizer(), length))
        if len(examples) < 2:
            raise BadInput(
                f"{self.name}.length", length, "a length that at least two requests with their answer fit into"
            )
        train, test = split(self.name, len(examples), sizes.train, sizes.test, self.defaults, seed)
        parts = [[examples[i] for i in part] for part in (train, test)]
        described = f"seeded shuffle of {len(examples)} requests, {len(train)} train / {len(test)} test"
        notes = (
            f"{len(rows) - len(examples)} of {len(rows)} requests do not fit into {length} tokens and are left out",
        )
        mask = "answer tokens and the end token; the prompt is not counted"
        return TaskData(parts[0], parts[1], None, (), fingerprint(*parts), mask, described, seed, notes)

    def _encode(self, rows: list[dict[str, Any]], tokenizer: Any, length: int) -> Iterator[dict[str, Any]]:
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        for row in rows:
            chat = [{"role": "user", "content": prompt_of(row)}]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
            answer = tokenizer(first_answer(row["name"], row["wanted"]), add_special_tokens=False)["input_ids"]
            used = len(prompt) + len(answer) + 1
            if used > length:
                continue
            rest = length - used
            yield {
                "input_ids": [*prompt, *answer, end, *[pad] * rest],
                "attention_mask": [1] * used + [0] * rest,
                "labels": [IGNORED] * len(prompt) + [*answer, end] + [IGNORED] * rest,
                "prompt": prompt,
                "name": row["name"],
                "wanted": row["wanted"],
            }

    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 16) -> Metrics:
        """Share of answers with the right function and all arguments; greedy generation, dropout off."""
        if not hasattr(model, "generate"):
            raise BadInput("model", spec.name, "a model that can generate text")
        tokenizer = spec.tokenizer()
        verdicts: list[Verdict] = []
        loss, counted, cut = 0.0, 0, 0
        limit = max(NEW_TOKENS, *(sum(label != IGNORED for label in row["labels"]) for row in data.test))
        with evaluating(model):
            for start in range(0, len(data.test), batch):
                rows = data.test[start : start + batch]
                used = max(sum(row["attention_mask"]) for row in rows)  # the padding beyond is not worth computing
                made = {name: value[:, :used] for name, value in self.collate(rows, spec).items()}
                loss += float(next_token_loss(model, made, "sum"))
                counted += int((made["labels"] != IGNORED).sum())
                for row, (answer, ended) in zip(
                    rows, _generate(model, tokenizer, [row["prompt"] for row in rows], limit)
                ):
                    verdicts.append(judge(answer, row["name"], row["wanted"]))
                    cut += not ended
        count = len(verdicts)
        details = {
            "valid_json": sum(v.valid_json for v in verdicts) / count,
            "name": sum(v.name for v in verdicts) / count,
            "exact": sum(v.exact for v in verdicts) / count,
            "cut_off": cut / count,
            "loss": loss / counted,
        }
        return Metrics(self.metric, details["exact"], count, details)


def _generate(model: Any, tokenizer: Any, prompts: list[list[int]], limit: int) -> Iterator[tuple[str, bool]]:
    """(text, whether it ended by itself) for each prompt; padding stands on the left, keys and values are cached."""
    import torch

    longest, device = max(map(len, prompts)), next(model.parameters()).device
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    written = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=limit,
        do_sample=False,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=end,
    )[:, longest:]
    for row in written.tolist():
        ended = end in row
        yield tokenizer.decode(row[: row.index(end)] if ended else row, skip_special_tokens=True), ended
