"""What a figure is before it is drawn: frozen data with a title, a caption, a spoken sentence and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MAX_PANELS = 12  #: small multiples in one drawing; the data and the interactive panel hold all


@dataclass(frozen=True)
class FigureInfo:
    """Base of every figure's data. ``alt`` is one sentence that says what the picture shows."""

    kind: ClassVar[str] = ""
    module: ClassVar[str] = ""  #: name of the interactive module in ``widgets/static``, or empty

    title: str
    caption: str
    alt: str
    runs: tuple[str, ...]

    def printed(self) -> tuple[str, ...]:
        """What the panel says beside its picture, which paper could not show otherwise; one text a paragraph."""
        return ()

    def rows(self) -> list[dict[str, Any]]:
        """The figure's numbers as a table, for the data view and the CSV file."""
        raise NotImplementedError

    def data(self) -> dict[str, Any]:
        """JSON-able data that the interactive module draws from: finite numbers only, short floats."""
        return {"kind": self.kind, **_plain(asdict(self))}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def caption_of(text: str, runs: Sequence[str]) -> str:
    """A caption that names the runs it is drawn from; a long list is shortened with its count."""
    if not runs:
        return f"{text} No runs."
    runs = [run for run in runs if run]
    if not runs:
        return f"{text} Drawn from predictions; nothing was run."
    shown = ", ".join(runs[:4])
    more = f" and {len(runs) - 4} more" if len(runs) > 4 else ""
    return f"{text} Runs: {shown}{more}."


def shown_of(count: int, limit: int, order: str) -> str:
    """The sentence that says a drawing leaves some out; empty when it shows all."""
    return f" The drawing shows the {limit} {order} of {count}; the data hold all." if count > limit else ""


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent. What is no share has a metric that says so; see ``groups.Metric.shown``."""
    return f"{value * 100:.{digits}f} %"
