"""What a notebook calls to put something into its report; each also looks right live in a notebook."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.figures.info import FigureInfo
from workbench.figures.table import Table, show_value

FIGURE = "application/vnd.pintpot.figure+json"
ANSWER = "application/vnd.pintpot.answer+json"
TABLE = "application/vnd.pintpot.table+json"
PROVENANCE = "application/vnd.pintpot.provenance+json"
COMMAND = "application/vnd.pintpot.command+json"
HELD = "application/vnd.pintpot.held+json"
PARAMETERS = "application/vnd.pintpot.parameters+json"
NOTHING = "Nothing to list: no row was found."  #: in place of an empty table
#: A number as it is printed, with its unit.
_PRINTED = re.compile(r"[+-]?[\d,. ]*\d(e[+-]?\d+)?( ?(%|[KMGT]?i?B|n?s|ms|[KMGT]?FLOP))?")
MIMES = (FIGURE, ANSWER, TABLE, PROVENANCE, COMMAND, PARAMETERS)


class Emitted:
    """A display object: our own data for the exporter, HTML for a live notebook, text for a terminal."""

    def __init__(self, bundle: Mapping[str, Any]) -> None:
        self.bundle = dict(bundle)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.bundle

    def __repr__(self) -> str:
        return str(self.bundle.get("text/plain", ""))


def _display(bundle: Mapping[str, Any]) -> Emitted:
    """Display now, wherever in a cell the call stands; outside IPython nothing is shown."""
    emitted = Emitted(bundle)
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return emitted
    if get_ipython() is not None:
        display(emitted)
    return emitted


def figure_payload(info: FigureInfo) -> dict[str, Any]:
    """The JSON that a report draws a figure from."""
    return {
        "kind": info.kind,
        "module": info.module,
        "title": info.title,
        "caption": info.caption,
        "alt": info.alt,
        "runs": list(info.runs),
        "printed": info.printed(),
        "info": info.data(),
        "csv": to_csv(info.rows()),
    }


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; numbers that are not whole have six digits.

    A text that a spreadsheet would take for a formula gets a leading quote.
    """
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header = list(dict.fromkeys(k for row in rows for k in row))
    writer.writerow([_inert(k) for k in header])
    writer.writerows([["" if row.get(k) is None else _inert(row[k]) for k in header] for row in rows])
    return buffer.getvalue()


def _inert(value: Any) -> Any:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def show(info: FigureInfo) -> None:
    """Put a figure into the report: the info, its data as CSV, and the SVG twin."""
    from workbench.figures.mpl import to_svg

    picture = to_svg(info)
    shown = f"<figure>{picture}<figcaption>{html.escape(info.caption)}</figcaption></figure>"
    _display({FIGURE: figure_payload(info), "image/svg+xml": picture, "text/html": shown, "text/plain": info.alt})


def answer(text: str) -> None:
    """Put the answer at the head of the report: one sentence, and what else must be said in further lines."""
    first, _, rest = text.partition("\n")
    more = f"<p>{html.escape(rest)}</p>" if rest else ""
    shown = f"<blockquote><p><strong>{html.escape(first)}</strong></p>{more}</blockquote>"
    _display({ANSWER: {"text": text}, "text/html": shown, "text/plain": text})


def note(text: str) -> None:
    """Put one sentence into the report where the cell stands."""
    _display({"text/html": f"<p>{html.escape(text)}</p>", "text/plain": text})


def held(count: int) -> None:
    """Say that all of so many assertions hold."""
    text = f"✓ All {count} assertions hold."
    _display({HELD: {"count": count}, "text/html": f"<p><strong>{text}</strong></p>", "text/plain": text})


def parameters(values: Mapping[str, Any]) -> None:
    """Put the resolved values of the parameters into the head of the report, in place of those that were given."""
    text = "\n".join(f"{k}: {v}" for k, v in values.items())
    shown = f"<details><summary>What it runs with</summary><pre>{html.escape(text)}</pre></details>"
    _display({PARAMETERS: dict(values), "text/html": shown, "text/plain": text})


def table(rows: Table | Sequence[Mapping[str, Any]], caption: str = "") -> None:
    """Put a table into the report: a :class:`Table`, or plain rows whose keys are the headings."""
    payload = table_payload(rows, caption)
    text = "\n".join("\t".join(row) for row in [payload["columns"], *payload["rows"]])
    _display({TABLE: payload, "text/html": table_html(payload), "text/plain": text})


def table_html(payload: Mapping[str, Any]) -> str:
    """A table for a live notebook, from the payload of the report's."""
    if not payload["rows"]:
        return f"<p>{NOTHING}</p>"
    # JupyterLab aligns every cell to the right, which is for numbers.
    words = [not number for number in payload.get("numeric", ())] or [True] * len(payload["columns"])
    sides = [" style='text-align:left'" if column else "" for column in words]
    head = "".join(f"<th scope='col'{side}>{html.escape(h)}</th>" for h, side in zip(payload["columns"], sides))
    rows = ["".join(f"<td{side}>{html.escape(c)}</td>" for c, side in zip(row, sides)) for row in payload["rows"]]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table_payload(rows: Table | Sequence[Mapping[str, Any]], caption: str = "") -> dict[str, Any]:
    """Printed cells, which columns are numbers, the verdict of each row, and the raw values as CSV."""
    if isinstance(rows, Table):
        return {
            "caption": caption or rows.caption,
            "columns": [c.title for c in rows.columns],
            "numeric": [c.kind not in ("text", "verdict") for c in rows.columns],
            "verdict": next((i for i, c in enumerate(rows.columns) if c.kind == "verdict"), None),
            "rows": [[rows.shown(row, c) for c in rows.columns] for row in rows.rows],
            "details": [[str(row.get(c.detail) or "") if c.detail else "" for c in rows.columns] for row in rows.rows],
            "fits": [row.get("fits") for row in rows.rows],
            "filterable": rows.filterable,
            "csv": to_csv(rows.plain()),
        }  # fmt: skip
    header = list(dict.fromkeys(k for row in rows for k in row))
    numbers = [all(_numeric(r.get(k)) for r in rows) for k in header]
    return {
        "caption": caption,
        "columns": [str(k) for k in header],
        "numeric": numbers,
        "rows": [[show_value(row.get(k)) for k in header] for row in rows],
        "fits": [row.get("fits") for row in rows],
        "csv": to_csv(list(rows)),
    }


def _numeric(value: Any) -> bool:
    """Whether a cell is a number, printed or not: ``3``, ``"22,566,146"``, ``"2.26 MiB"``; an absent one may be."""
    return isinstance(value, int | float | None) or (isinstance(value, str) and bool(_PRINTED.fullmatch(value)))


def provenance(facts: Mapping[str, Any]) -> None:
    """Put the provenance block at the foot of the report; see :mod:`workbench.report.provenance`."""
    said = {k: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for k, v in facts.items()}
    shown = table_html({"columns": ["Provenance", ""], "rows": list(said.items())})
    text = "\n".join(f"{k}: {v}" for k, v in said.items())
    _display({PROVENANCE: dict(facts), "text/html": shown, "text/plain": text})


def command(text: str) -> None:
    """Put the command that reproduces the report at its foot."""
    _display({COMMAND: {"text": text}, "text/html": f"<pre>{html.escape(text)}</pre>", "text/plain": text})
