"""The page of all reports, made from the data that each report carries; works from disk."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from workbench.core.paths import reports
from workbench.core.units import format_size
from workbench.report import page
from workbench.report.files import write_atomically

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


class _SummaryReader(HTMLParser):
    """Text of the one script element that holds a report's data."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script" and dict(attrs).get("id") == "pintpot-report"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data


def read_summary(path: Path) -> dict[str, Any] | None:
    """A report's own data, or None when the file is no report or is damaged."""
    try:
        reader = _SummaryReader()
        reader.feed(path.read_text(encoding="utf-8"))
        summary = json.loads(reader.text)
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("title") else None


def build(folder: Path | None = None) -> Path:
    """Write ``index.html`` into the folder of reports, newest first, and return its path."""
    folder = folder or reports()
    cards = []
    for path in sorted(folder.glob("*/*.html")) + sorted(folder.glob("*.html")):
        summary = None if path.name == "index.html" else read_summary(path)
        if summary is not None:
            cards.append(_card(path, folder, summary))
    cards.sort(key=lambda c: c["created"], reverse=True)
    target = folder / "index.html"
    write_atomically(target, _render(cards))
    return target


def _card(path: Path, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    params = summary.get("params") if isinstance(summary.get("params"), dict) else {}
    shown = {str(k): str(v) for k, v in (params or {}).items() if str(v)}
    fields = ("title", "answer", "status", "created", "name", "profile")
    card: dict[str, Any] = {key: str(summary.get(key) or "") for key in fields}
    asks = summary.get("asks")
    card["answer"] = _lesson(asks) if isinstance(asks, int) and asks > 0 else card["answer"].partition("\n")[0]
    card |= {
        "href": "/".join(quote(part) for part in path.relative_to(folder).parts),
        "params": shown,
        "size": format_size(path.stat().st_size),
        "thumbnail": thumbnail(summary.get("thumbnail")),
    }
    words = [card[k] for k in fields] + [f"{k} {v}" for k, v in shown.items()]
    card["search"] = " ".join(words).lower()
    return card


def _lesson(questions: int) -> str:
    """What a card says of a page that asks its reader before it answers."""
    return f"A lesson: {questions} question{'s' * (questions > 1)} to guess before the answer is shown."


def thumbnail(data: Any) -> Markup:
    """A small picture of score against peak; anything but numbers and colours is left out."""
    data = data if isinstance(data, dict) else {}
    points = data.get("points", [])
    points = [p for p in points if isinstance(p, list) and len(p) == 3 and _is_point(p)][:60]
    if not points:
        return _bars(data.get("bars"))
    budget = data.get("budget")
    xs = [math.log(p[0]) for p in points] + ([math.log(budget)] if _positive(budget) else [])
    ys = [p[1] for p in points]
    x = _scale(min(xs), max(xs), 16, 264)
    y = _scale(min(ys), max(ys), 92, 18)
    line = ""
    if _positive(budget):
        at = f"{x(math.log(budget)):.1f}"
        line = f'<line class="pp-budget" x1="{at}" x2="{at}" y1="6" y2="104"/>'
    dots = "".join(f'<circle cx="{x(math.log(p[0])):.1f}" cy="{y(p[1]):.1f}" r="5" fill="{p[2]}"/>' for p in points)
    return Markup(f'<svg viewBox="0 0 280 110" aria-hidden="true">{line}{dots}</svg>')


def _bars(rows: Any) -> Markup:
    """Stacked bars, at most eight; parts that are no numbers with a colour are left out."""
    rows = rows if isinstance(rows, list) else []
    parts = [[p for p in row if _is_part(p)] for row in rows[:8] if isinstance(row, list)]
    widest = max((sum(p[0] for p in row) for row in parts), default=0)
    if not widest:
        return Markup("")
    height, drawn = 96 / len(parts), ""
    for y, row in enumerate(parts):
        left = 12.0
        for value, colour in row:
            width = value / widest * 256
            drawn += (
                f'<rect x="{left:.1f}" y="{7 + y * height:.1f}" width="{width:.1f}" height="{height * 0.7:.1f}" '
                f'fill="{colour}"/>'
            )
            left += width
    return Markup(f'<svg viewBox="0 0 280 110" aria-hidden="true">{drawn}</svg>')


def _is_part(p: Any) -> bool:
    return isinstance(p, list) and len(p) == 2 and _positive(p[0]) and isinstance(p[1], str) and _is_colour(p[1])


def _is_colour(text: str) -> bool:
    return bool(_COLOUR.fullmatch(text))


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_point(p: list[Any]) -> bool:
    score = isinstance(p[1], int | float) and math.isfinite(p[1])
    return _positive(p[0]) and score and isinstance(p[2], str) and _is_colour(p[2])


def _scale(low: float, high: float, start: float, end: float):
    span = (high - low) or 1.0
    return lambda v: start + (v - low) / span * (end - start) if high > low else (start + end) / 2


def _render(cards: list[dict[str, Any]]) -> str:
    environment = Environment(loader=FileSystemLoader(page.OWN), autoescape=True, trim_blocks=True)
    script, style = page.script([]), page.style()
    return environment.get_template("gallery.html.j2").render(
        cards=cards,
        script=Markup(script),
        style=Markup(style),
        policy=Markup(page.policy([script], [style])),
    )
