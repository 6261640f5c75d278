"""Predicted memory of one step for models that may be far too large to run here."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import MemoryProfile


@dataclass(frozen=True)
class Forecast:
    """One model and method. ``profile`` is None where none can be made, and ``reason`` says why; ``seconds`` is what
    the prediction took, which is nearly nothing when it was kept from before."""

    model: str
    method: str
    profile: MemoryProfile | None
    reason: str
    seconds: float


def forecasts(
    models: Sequence[str],
    methods: Sequence[str],
    *,
    batch: int,
    length: int,
    observe: Callable[[str], None] | None = None,
) -> list[Forecast]:
    """Every model with every method on synthetic tokens; a method may carry settings, as in ``lora recompute=1`` (or
    ``recompute:1``, since a parameters cell takes no second equals sign).

    All names and settings are checked before the first prediction. Nothing is allocated and nothing downloaded.
    """
    spelled = [text.replace(":", "=") for text in methods]
    cases = [(m, text, _case(m, text, batch, length)) for m in models for text in spelled]
    found = []
    for model, text, case in cases:
        if observe is not None:
            observe(f"{model}, {text}")
        started = time.perf_counter()
        profile, reason = None, ""
        try:
            profile = case.predict()
        except Incompatible as problem:
            reason = str(problem)
        found.append(Forecast(model, text, profile, reason, time.perf_counter() - started))
    return found


def _case(model: str, text: str, batch: int, length: int) -> Case:
    method, *settings = text.split() or [""]
    return Case("tokens", model, method, batch, length, settings=dict(map(_setting, settings)))


def _setting(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not name or not mark:
        raise BadInput("method setting", text, "name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
