"""Guesses that a reader made, kept beside the runs: a restart, a cell run again or another day finds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core.paths import runs


def file() -> Path:
    """One JSON object a line: ``question``, ``guess``, ``made``; and ``answer`` once it was shown."""
    return runs() / "guesses.jsonl"


def keep(question: str, guess: str, answer: str | None = None) -> None:
    """Add a line; where nothing can be written the guess lives as long as the kernel."""
    line = {"question": question, "guess": guess, "made": datetime.now(UTC).isoformat(timespec="seconds")}
    line |= {} if answer is None else {"answer": answer}
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        with file().open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError:
        return


def recalled(question: str, options: Sequence[str]) -> int | None:
    """The last guess at a question that still has that option; None where there is none."""
    found = [line["guess"] for line in kept() if line.get("question") == question and line.get("guess") in options]
    return list(options).index(found[-1]) if found else None


def kept() -> Iterator[dict[str, Any]]:
    """Every line that can be read, oldest first."""
    try:
        lines = file().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line
