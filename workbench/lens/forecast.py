"""Predicted memory of one step for models that may be far too large to run here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.core.profile import MemoryProfile
from workbench.core.spelling import parsed_way


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
    cases = [(m, text.replace(":", "="), _case(m, text, batch, length)) for m in models for text in methods]
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
    method, settings = parsed_way(text)
    return Case("tokens", model, method, batch, length, settings=settings)
