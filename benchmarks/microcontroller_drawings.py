"""The pictures of docs/microcontroller.md, from the numbers that microcontroller.py stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench import figures
from workbench.core.units import format_size
from workbench.figures.extra_bytes import ByteLine, BytePoint, ExtraBytesInfo
from workbench.figures.info import FigureInfo, percent
from workbench.figures.norm_ratios import NormRatiosInfo
from workbench.studies.norm_ratios import NormRatios

Row = Mapping[str, Any]

_BYTES_CAPTION = "SRAM of the planned step on one example beyond training the head alone (exact), against test score (measured; mean and 95 % interval over seeds). Each scheme has the rate of its own grid with the lowest training loss; the searched ones were found without the test set."  # noqa: E501


def drawings(stored: Mapping[str, Any]) -> dict[str, FigureInfo]:
    """Each by the name of its file."""
    found = {name: part["found"] for name, part in stored["parts"].items()}
    return {
        "microcontroller-bytes": bytes_info(found["bytes"]),
        "microcontroller-ratios": ratios_info(found["ratios"]),
    }


def ratios_info(found: Row) -> NormRatiosInfo:
    """How large each weight is beside its gradient."""
    curves = [NormRatios(c["label"], tuple(c["layers"]), tuple(c["ratios"])) for c in found["curves"]]
    return figures.norm_ratios(curves)


def bytes_info(found: Row) -> ExtraBytesInfo:
    """What further bytes buy."""
    families: dict[str, list[BytePoint]] = {}
    for row in found["rows"]:
        point = BytePoint(*(row[k] for k in ("label", "extra", "lr", "score", "low", "high", "count")))
        families.setdefault(row["family"], []).append(point)
    best = max((p for some in families.values() for p in some), key=lambda p: p.score or 0.0)
    alt = (
        f"Score against extra bytes of {', '.join(families)}. The best is {best.label} with {percent(best.score)} at "
        f"{format_size(best.extra)} more."
    )
    lines = tuple(ByteLine(name, tuple(some)) for name, some in families.items())
    return ExtraBytesInfo("What further bytes buy", _BYTES_CAPTION, alt, (), lines)
