"""The parameters of a notebook, read from its cell of typed literals and checked before anything runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core.config import Config, validated
from workbench.core.errors import BadInput, UnknownName, together
from workbench.core.units import parse_size

_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (str, int, float, bool, list, dict)}


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

    from workbench.report.schemas import quick_schemas

    quick_schemas()
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

    def meant(name: str, value: Any) -> Any:
        if name not in known:
            raise UnknownName("parameter", name, known)
        return _typed(known[name], value)

    return dict(zip(given, together(*(partial(meant, name, value) for name, value in given.items())), strict=True))


def _typed(parameter: Parameter, value: Any) -> Any:
    """The value as the declared type, by the same strict rules as every other input. Raises ``BadInput``."""
    from pydantic import Field, create_model

    name, kind = parameter.name, _annotation(parameter)
    if isinstance(value, tuple) or (isinstance(value, str) and "list[" in parameter.type):
        # A command line says a list with commas.
        value = [_plain(v.strip()) for v in value.split(",") if v.strip()] if isinstance(value, str) else list(value)
    schema: type[Config] = create_model("Parameters", __base__=Config, value=(kind, Field(alias=name)))
    found = validated(schema, {name: value}, "").value  # type: ignore[attr-defined]
    if isinstance(found, list) and not found and parameter.default:
        raise BadInput(name, value, "at least one item")
    if isinstance(found, list) and len(set(map(str, found))) < len(found):
        raise BadInput(name, value, "items that differ")
    if name == "budget" and found != "":
        parse_size(found, name)
    return found


def _annotation(parameter: Parameter) -> Any:
    """The declared type; the few names that a parameters cell may use, looked up and never evaluated as code."""

    def meaning(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name) if name in _TYPES:
                return _TYPES[name]
            case ast.Constant(value=None):
                return None
            case ast.Subscript(value=outer, slice=inner):
                return meaning(outer)[meaning(inner)]
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return meaning(left) | meaning(right)
        raise BadInput(f"parameter {parameter.name}", parameter.type, f"a type made of {', '.join(_TYPES)}, None and |")

    kind = meaning(ast.parse(parameter.type, mode="eval").body)
    return kind | None if parameter.default is None else kind


def _plain(text: str) -> Any:
    """A number where the text is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
