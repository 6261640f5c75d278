"""Typed settings. One declaration feeds CLI flags, widget forms, notebook tables and report pages."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.core.errors import BadInput, ManyBadInputs, UnknownName


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
    unit: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a config field with its meaning, range, unit and (when they are found at run time) choices."""
    extra: dict[str, Any] = {"unit": unit, "choices": list(choices)}
    return Field(default, description=doc, ge=ge, le=le, gt=gt, json_schema_extra=extra)


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


def validated(config: type[Config], values: dict[str, Any], where: str) -> Config:
    """An instance of ``config``, or one sentence per problem naming the field and the nearest known name."""
    try:
        return config.model_validate(values)
    except ValidationError as error:
        problems: list[BadInput] = []
        for item in error.errors():
            name = ".".join(str(p) for p in item["loc"]) or where
            if item["type"] == "extra_forbidden":
                problems.append(UnknownName(f"{where} parameter", name, config.model_fields))
            else:
                problems.append(BadInput(f"{where}.{name}", item.get("input"), item["msg"].lower()))
        raise problems[0] if len(problems) == 1 else ManyBadInputs(problems) from None
