"""Cached answers: one file of JSON each, named by what was asked, written whole or not at all."""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.core import paths

_said: set[Path] = set()  #: folders that could not be written to, each said once a process


def answer_file(key: str) -> Path:
    """Where the answer to a question with this key is kept."""
    return paths.cache() / "predictions" / f"{key}.json"


def read_answer(key: str) -> dict[str, Any] | None:
    """The answer; ``None`` where there is none or a kill has torn it, since asking again costs a second."""
    return read_file(answer_file(key))


def write_answer(key: str, data: Mapping[str, Any]) -> None:
    """Keep an answer, where the cache can be written to."""
    write_file(answer_file(key), data)


def read_file(file: Path) -> dict[str, Any] | None:
    """What :func:`write_file` has left there, if anything."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_file(file: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` whole or not at all. A cache that is full or read only loses the answer, not whoever has it."""
    text = json.dumps(data)
    partial = file.with_suffix(f".{uuid.uuid4().hex}")  # threads share a number of process, containers do as well
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        partial.replace(file)
    except OSError as error:
        if file.parent not in _said:
            _said.add(file.parent)
            warnings.warn(f"answers are not kept: {error}", stacklevel=3)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
