"""The parameters of a notebook, read from its cell of typed literals and checked before anything runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.errors import BadInput, ManyBadInputs, UnknownName
from workbench.core.units import parse_size


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: ``budget: str = "256 MiB"  # memory budget``."""

    name: str
    type: str
    default: Any
    doc: str


def declared(notebook: Path) -> dict[str, Parameter]:
    """Parameters by name, in order. A default that is no literal is an error of the notebook."""
    import logging

    import papermill

    logging.getLogger("papermill").setLevel(logging.WARNING)
    found = {}
    for name, raw in papermill.inspect_notebook(str(notebook)).items():
        try:
            default = ast.literal_eval(raw["default"])
        except (ValueError, SyntaxError):
            raise BadInput(f"{notebook.name}, parameter {name}", raw["default"], "a literal default") from None
        kind = raw["inferred_type_name"]
        found[name] = Parameter(name, type(default).__name__ if kind == "None" else kind, default, raw["help"])
    return found


def checked(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values with whole numbers made real where asked; every problem at once, one sentence each."""
    values: dict[str, Any] = {}
    problems: list[BadInput] = []
    for name, value in given.items():
        try:
            if name not in known:
                raise UnknownName("parameter", name, known)
            values[name] = _typed(known[name], value)
        except BadInput as problem:
            problems.append(problem)
    if problems:
        raise problems[0] if len(problems) == 1 else ManyBadInputs(problems)
    return values


def _typed(parameter: Parameter, value: Any) -> Any:
    kind, name = parameter.type.replace(" ", ""), parameter.name
    if value is None and (parameter.default is None or "None" in kind):
        return None
    alternatives = [k for k in kind.split("|") if k != "None"]
    for wanted in alternatives:
        found = _as(wanted, value)
        if found is not None:
            break
    else:
        raise BadInput(name, value, f"a value of type {parameter.type}")
    if isinstance(found, list) and not found and parameter.default:
        raise BadInput(name, value, "at least one item")
    if isinstance(found, list) and len(set(map(str, found))) < len(found):
        raise BadInput(name, value, "items that differ")
    if name == "budget" and found != "":
        parse_size(found, name)
    return found


def _plain(text: str) -> Any:
    """A number where the text is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _as(wanted: str, value: Any) -> Any:
    """The value as a ``wanted`` type, or None when it is not one. Booleans are no numbers."""
    base, _, inner = wanted.partition("[")
    inner = inner.removesuffix("]").removesuffix(",...")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if base in ("list", "tuple"):
        if isinstance(value, str):  # a command line says a list with commas
            value = [_plain(part.strip()) for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            return None
        items = [_as(inner, v) if inner else v for v in value]
        return None if any(v is None for v in items) else items
    if base == "float":
        return float(value) if number and value == value and abs(value) != float("inf") else None
    if base == "int":
        return value if number and isinstance(value, int) else None
    types = {"str": str, "bool": bool, "dict": dict}
    return value if isinstance(value, types.get(base, object)) else None
