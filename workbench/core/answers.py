"""Cached answers: one file of JSON each, named by what was asked, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from workbench.core import paths


def answer_file(key: str) -> Path:
    """Where the answer to a question with this key is kept."""
    return paths.cache() / "predictions" / f"{key}.json"


def read_answer(key: str) -> dict[str, Any] | None:
    """The answer; ``None`` where there is none or a kill has torn it, since asking again costs a second."""
    try:
        found: dict[str, Any] = json.loads(answer_file(key).read_text())
        return found
    except (OSError, ValueError):
        return None


def write_answer(key: str, data: dict[str, Any]) -> None:
    file = answer_file(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(data))
    temporary.replace(file)
