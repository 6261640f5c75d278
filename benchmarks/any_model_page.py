"""The page of the documentation on models from nothing but a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

Row = dict[str, Any]

HEAD = """# Any transformers model from its configuration

{answer}

Each model is a folder with nothing but a small `config.json`, as one would hand it to `--model path:DIR`: about two
layers of width 48, batch {batch}, random weights. *Predicted* is the probe tier, made before the step runs,
*measured* the counting allocator's peak of a warm step. A cell is the measured peak in bytes, with predicted
minus measured behind it where that is not 0. Written by `OMP_NUM_THREADS=1 python benchmarks/any_model.py`
with torch {torch}, transformers {transformers}, peft {peft}; the rows are in `benchmarks/results/any_model.json`.

A model that reads texts or pictures gets a fresh head over the mean of its last states (without a class token); one
that writes keeps its own output layer. One of encoder and decoder is given the same tokens on both sides, the
decoder's a place later, and its padding mask.

"""


def page(rows: list[Row], batch: int, versions: dict[str, str]) -> str:
    """The whole page from the rows of all models and methods."""
    compared = [r for r in rows if "difference" in r]
    exact = sum(r["difference"] == 0 for r in compared)
    served = {r["model"] for r in compared}
    answer = (
        f"**{exact} of {len(compared)} steps of {len(served)} architectures are predicted to the byte.** "
        f"{len(rows) - len(compared)} combinations are refused, each in one sentence; they are listed below the table."
    )
    methods = list(dict.fromkeys(r["method"] for r in rows))
    lines = ["| model_type | kind | " + " | ".join(methods) + " |", "|---" * (2 + len(methods)) + "|"]
    for model, group in groupby((r for r in rows if r["model"] in served), key=lambda r: r["model"]):
        found = list(group)
        kind = next(r["kind"] for r in found if "kind" in r)
        lines.append(f"| {model} | {kind} | " + " | ".join(_cell(r) for r in found) + " |")
    head = HEAD.format(answer=answer, batch=batch, **versions)
    return head + "\n".join(lines) + "\n\n## Refused\n\n" + "\n".join(_refusals(rows)) + "\n"


def _cell(row: Row) -> str:
    if "measured" not in row:
        return "refused" if "refused" in row else "failed"
    off = row.get("difference")
    return f"{row['measured']:,}" + (" (not predicted)" if off is None else f" ({off:+,})" if off else "")


def _refusals(rows: list[Row]) -> Iterator[str]:
    """Each sentence once, with the models and methods it was said of."""
    said: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        sentence = row.get("refused") or row.get("failed")
        if sentence:
            words = sentence.replace(f"path:{row['model']}", "MODEL").replace(f"; {row['model']} is", "; MODEL is")
            said.setdefault(words, {}).setdefault(row["model"], []).append(row["method"])
    for sentence, models in said.items():
        methods = {tuple(m) for m in models.values()}
        which = f" ({', '.join(*methods)})" if len(methods) == 1 else ""
        yield f"- {', '.join(models)}{which}: *{sentence}*"
