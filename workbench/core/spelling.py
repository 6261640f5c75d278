"""How a method with settings is written in one line: ``lora r=8``, or ``lora r:8`` where ``=`` has another meaning."""

from __future__ import annotations

import ast
import json
from typing import Any

from workbench.core.errors import BadInput, all_of


def parsed(text: str) -> Any:
    """A value as JSON or as a Python literal where it is one, else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two: brackets within brackets
            continue
    return text


def words(text: str) -> tuple[str, ...]:
    """The words of a comma-separated setting."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parsed_way(text: str) -> tuple[str, dict[str, Any]]:
    """The method's name and its settings; raises ``BadInput`` for a word that is no ``name=value``.

    >>> parsed_way("lora r=8 target_modules=all-linear")
    ('lora', {'r': 8, 'target_modules': 'all-linear'})
    """
    method, *words = text.split() or [""]
    settings, problems = {}, []
    for word in words:
        name, _, value = word.partition("=") if "=" in word else word.partition(":")
        if name.isidentifier() and value:
            settings[name] = parsed(value)
        else:
            problems.append(BadInput("method setting", word, "name=value"))
    if problems:
        raise all_of(problems)
    return method, settings
