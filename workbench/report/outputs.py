"""One notebook output as safe HTML, the best representation first: ours, plotly, SVG, HTML, image, text."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from workbench.figures import svg
from workbench.report import emit
from workbench.report.markdown import sanitised
from workbench.report.page import packed

PACK_FROM = 6000
LONG = 28  #: a text of more characters may break into lines
PLOTLY = "application/vnd.plotly.v1+json"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b\x0c\x0e-\x1f]")


def inert_json(value: Any) -> Markup:
    """JSON for a ``<script type="application/json">`` that no content can end or leave."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def stored(name: str, value: Any) -> Markup:
    """Data for the page's script in an inert element; beyond ``PACK_FROM`` characters it is packed."""
    text = inert_json(value)
    if len(text) <= PACK_FROM:
        return Markup('<script type="application/json" id="{}">{}</script>').format(name, text)
    return Markup('<script type="application/gzip" id="{}">{}</script>').format(name, packed(text))


def by_column(text: str) -> str | list[list[str]]:
    """CSV as its columns, which pack to three quarters; the page's script makes it rows again, to the same text.

    A table that would not come back the same stays text.
    """
    rows = list(csv.reader(io.StringIO(text, newline="")))
    again = io.StringIO()
    csv.writer(again, lineterminator="\n").writerows(rows)
    alike = again.getvalue() == text and len({*map(len, rows)}) == 1 and len(rows[0]) > 1
    return [list(column) for column in zip(*rows)] if alike else text


def text_of(value: Any) -> str:
    """Notebook text (a string or a list of lines) without terminal codes; a redrawn line shows its last state."""
    text = "".join(value) if isinstance(value, list) else str(value)
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return _ANSI.sub("", "\n".join(lines))


class Outputs:
    """Renders the outputs of one report and remembers what the page must carry for them."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self.modules = modules
        self.used: list[str] = []
        self.plotly = False
        self.figures = 0
        self.asked = 0  #: questions that the reader answers before the page does
        self.tables = 0

    def render(self, output: Mapping[str, Any]) -> Markup:
        kind = output.get("output_type")
        if kind == "stream":
            return self._stream(output)
        if kind == "error":
            return self._error(output)
        data = output.get("data", {})
        if emit.FIGURE in data:
            return self._figure(data[emit.FIGURE], data.get("image/svg+xml"))
        if emit.HELD in data:
            return Markup('<p class="held">✓ All {} assertions hold.</p>').format(int(data[emit.HELD]["count"]))
        if emit.TABLE in data:
            return self._table(data[emit.TABLE])
        return self._foreign(data)

    def _foreign(self, data: Mapping[str, Any]) -> Markup:
        if isinstance(data.get(PLOTLY), Mapping):
            return self._plotly(data[PLOTLY])
        if "image/svg+xml" in data:
            picture = self._picture(data["image/svg+xml"])
            if picture:
                return self._frame(picture, "Figure", text_of(data.get("text/plain", "Figure")))
        if "text/html" in data:
            return Markup('<div class="rich">{}</div>').format(sanitised(text_of(data["text/html"])))
        for mime in ("image/png", "image/jpeg"):
            if mime in data:
                return self._image(mime, data)
        if "text/plain" in data:
            return Markup("<pre>{}</pre>").format(text_of(data["text/plain"]))
        return Markup("")

    def _stream(self, output: Mapping[str, Any]) -> Markup:
        text = text_of(output.get("text", "")).strip("\n")
        if not text.strip():
            return Markup("")
        if output.get("name") == "stderr":
            return Markup('<details class="log"><summary>Messages</summary><pre>{}</pre></details>').format(text)
        return Markup("<pre>{}</pre>").format(text)

    def _error(self, output: Mapping[str, Any]) -> Markup:
        trace = text_of("\n".join(output.get("traceback", [])))
        said = f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
        return Markup(
            '<div class="failure" role="alert"><strong>{}</strong>'
            "<details><summary>Traceback</summary><pre>{}</pre></details></div>"
        ).format(text_of(said), trace)

    def _picture(self, text: Any) -> Markup | None:
        try:
            return Markup(svg.clean(text_of(text), f"o{self.figures}-"))
        except ValueError:
            return None

    def _figure(self, payload: Mapping[str, Any], picture: Any) -> Markup:
        module = str(payload.get("module", ""))
        static = self._picture(picture) if picture else None
        drawing = static or Markup("<p>{}</p>").format(payload.get("alt", ""))
        module = module if module in self.modules else ""
        self.asked += module == "guess" and dict(payload.get("info") or {}).get("answer") is not None
        if module and module not in self.used:
            self.used.append(module)
        return self._frame(
            drawing,
            str(payload.get("title", "")),
            str(payload.get("alt", "")),
            str(payload.get("caption", "")),
            module,
            {"info": payload.get("info", {}) if module else {}, "csv": by_column(str(payload.get("csv", "")))},
            str(payload.get("kind", "figure")),
            [str(text) for text in payload.get("printed", ())],
        )

    def _frame(
        self,
        drawing: Markup,
        title: str,
        alt: str,
        caption: str = "",
        module: str = "",
        data: Mapping[str, Any] | None = None,
        kind: str = "figure",
        printed: Sequence[str] = (),
    ) -> Markup:
        """A captioned figure: live part (filled by its module), static twin, words for paper, data and its download."""
        self.figures += 1
        name = f"figure-{self.figures}"
        live = Markup('<div class="live" data-module="{}" data-source="{}-data" hidden></div>').format(module, name)
        source = stored(f"{name}-data", data) if data else ""
        save = Markup(
            '<button type="button" class="save" data-source="{}-data" data-name="{}.csv" hidden>Data as CSV</button>'
        )
        save = save.format(name, f"{re.sub(r'[^a-z0-9-]', '', kind) or 'figure'}-{self.figures}")
        return Markup(
            '<figure id="{}" class="{}" aria-label="{}"><div class="figure-title">{}</div>{}'
            '<div class="static" role="img" aria-label="{}">{}</div>{}<figcaption>{} {}</figcaption>{}</figure>'
        ).format(
            name,
            f"kind-{re.sub(r'[^a-z]', '', kind)}",
            title,
            title,
            live if module else "",
            alt,
            drawing,
            Markup("").join(Markup('<p class="on-paper">{}</p>').format(text) for text in printed),
            caption,
            save if data and data.get("csv") else "",
            source,
        )

    def _table(self, payload: Mapping[str, Any]) -> Markup:
        self.tables += 1
        if not payload.get("rows"):
            return Markup('<p class="none">{} {}</p>').format(payload.get("caption", ""), emit.NOTHING)
        numeric = list(payload.get("numeric", []))
        fits = list(payload.get("fits", []))
        details = list(payload.get("details", []))
        columns = [str(c) for c in payload.get("columns", [])]
        head = Markup("").join(
            Markup('<th scope="col" class="{}">{}</th>').format("number" if j < len(numeric) and numeric[j] else "", c)
            for j, c in enumerate(columns)
        )
        rows = []
        for i, row in enumerate(payload.get("rows", [])):
            state = {True: "fits", False: "over", None: ""}.get(fits[i] if i < len(fits) else None, "")
            said = details[i] if i < len(details) else []
            cells = Markup("").join(
                _cell(j, str(c), _class(j, str(c), numeric, payload.get("verdict")), said[j] if j < len(said) else "")
                for j, c in enumerate(row)
            )
            rows.append(Markup('<tr data-state="{}">{}</tr>').format(state, cells))
        name = f"table-{self.tables}"
        return Markup(
            '<figure id="{}" class="table">{}<div class="scroll" tabindex="0" role="region" aria-label="{}">'
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div><figcaption>{} "
            '<button type="button" class="save" data-source="{}-data" data-name="{}.csv" hidden>Data as CSV'
            "</button></figcaption>{}</figure>"
        ).format(
            name,
            _filter(name, len(rows)) if payload.get("filterable") else "",
            payload.get("caption") or "Table",
            head,
            Markup("").join(rows),
            payload.get("caption", ""),
            name,
            name,
            stored(f"{name}-data", {"csv": by_column(str(payload.get("csv", "")))}),
        )

    def _plotly(self, payload: Mapping[str, Any]) -> Markup:
        self.plotly = True
        self.figures += 1
        name = f"figure-{self.figures}"
        return Markup('<figure id="{0}"><div class="plotly" data-source="{0}-data"></div>{1}</figure>').format(
            name, stored(f"{name}-data", {k: payload.get(k) for k in ("data", "layout")})
        )

    def _image(self, mime: str, data: Mapping[str, Any]) -> Markup:
        try:
            raw = base64.b64decode(text_of(data[mime]), validate=False)
        except (binascii.Error, ValueError):
            return Markup("")
        source = f"data:{mime};base64,{base64.b64encode(raw).decode()}"
        alt = text_of(data.get("text/plain", "Figure"))
        return Markup('<figure><img src="{}" alt="{}"></figure>').format(source, alt)


def _filter(name: str, rows: int) -> Markup:
    """A search field over the rows of a table; the page's script shows it."""
    return Markup(
        '<p class="controls row-filter" data-table="{}" hidden><label>Filter <input type="search" autocomplete="off">'
        '</label> <span aria-live="polite">{} rows</span></p>'
    ).format(name, rows)


def _class(index: int, text: str, numeric: list[bool], verdict: Any) -> str:
    if index == verdict:
        return "verdict"
    if index < len(numeric) and numeric[index]:
        return "number"
    return "long" if len(text) > LONG else ""


def _cell(index: int, text: str, kind: str, detail: str = "") -> Markup:
    """One cell; a longer text behind it opens on demand."""
    if index == 0:
        return Markup('<th scope="row" class="{}">{}</th>').format(kind, text)
    text = text.replace(" %", "\u00a0%").replace("% to ", "% to\u00a0")  # a number, its sign and its end stay together
    said = escape(text)
    if detail and detail != text:
        said = Markup("<details><summary>{}</summary>{}</details>").format(text, detail)
    return Markup("<td{}>{}</td>").format(Markup(f' class="{kind}"') if kind else "", said)
