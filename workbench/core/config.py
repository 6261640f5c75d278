"""Typed settings. One declaration feeds CLI flags, widget forms, notebook tables and report pages."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.core.errors import BadInput, UnknownName, all_of


class Config(BaseModel):
    """Base of every typed config: strict types, unknown fields refused, finite numbers only, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Setting:
    """One field of a config as a form or a flag needs it."""

    name: str
    type: str
    default: Any
    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()


def setting(
    default: Any,
    doc: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    lt: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a config field with its meaning, range, unit and (when they are found at run time) choices."""
    extra: dict[str, Any] = {"unit": unit, "choices": list(choices)}
    return Field(default, description=doc, ge=ge, le=le, gt=gt, lt=lt, json_schema_extra=extra)


def settings_of(config: type[BaseModel]) -> list[Setting]:
    """The fields of a config class, in order of declaration."""
    found = []
    for name, info in config.model_fields.items():
        low = high = None
        for constraint in info.metadata:
            low = getattr(constraint, "ge", getattr(constraint, "gt", low))
            high = getattr(constraint, "le", getattr(constraint, "lt", high))
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        annotation = info.annotation
        listed = extra.get("choices") or ()
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else tuple(listed)  # type: ignore[arg-type]
        kind = type(choices[0]).__name__ if choices else getattr(annotation, "__name__", str(annotation))
        found.append(
            Setting(
                name,
                kind if kind != "Optional" else str(annotation),
                info.get_default(call_default_factory=True),
                info.description or "",
                str(extra.get("unit", "")),
                low,
                high,
                choices,
            )
        )
    return found


class Carried(ValueError):
    """A sentence of ours on its way through pydantic, which turns other errors of a validator into its own words."""

    def __init__(self, problem: BadInput) -> None:
        self.problem = problem
        super().__init__(str(problem))


def validated(config: type[Config], values: dict[str, Any], where: str) -> Config:
    """An instance of ``config``, or one sentence per problem naming the field and the nearest known name."""
    try:
        return config.model_validate(values)
    except ValidationError as error:
        problems = [_problem(config, where, item) for item in error.errors()]
        # Each alternative of a union says what it would have liked; once is enough.
        raise all_of(list({(p.field, id(p.value)): p for p in reversed(problems)}.values())[::-1]) from None


def _problem(config: type[Config], where: str, item: Any) -> BadInput:
    carried = item.get("ctx", {}).get("error")
    if isinstance(carried, Carried):
        return carried.problem
    path = [str(p) for p in item["loc"] if not str(p).startswith(("function-", "constrained-"))]
    if item["type"] == "extra_forbidden":
        return UnknownName(f"setting of {where}" if where else "parameter", ".".join(path), config.model_fields)
    alternatives = {"str", "int", "float", "bool", "none"}
    name = ".".join([where] * bool(where) + [p for i, p in enumerate(path) if not (i and p in alternatives)])
    value, ctx = item.get("input"), item.get("ctx", {})
    if item["type"] == "literal_error":
        info = config.model_fields.get(path[0]) if path else None
        return UnknownName(
            name, value, map(str, typing.get_args(info.annotation) if info else ()) or (ctx["expected"],)
        )
    if item["type"] == "value_error" and path and (known := _choices(config, path[0])):
        return UnknownName(name, value, known)
    if item["type"] == "value_error" and carried is not None:  # a validator's own words, without pydantic's before them
        return BadInput(name, value, str(carried).removeprefix("expected "))
    return BadInput(name, value, _EXPECTED.get(item["type"], item["msg"].lower()).format(**ctx))


def _choices(config: type[Config], field: str) -> tuple[str, ...]:
    """What a field found at run time that it may be."""
    info = config.model_fields.get(field)
    extra = info.json_schema_extra if info is not None else None
    return tuple(map(str, extra.get("choices") or ())) if isinstance(extra, dict) else ()  # type: ignore[arg-type]


#: pydantic's kinds of error as what a user would have to give.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "names with values",
    "missing": "a value; it is missing",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
}
