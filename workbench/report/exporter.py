"""An executed notebook as one HTML file that asks nothing of the network and runs no script but its own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter, TemplateExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from traitlets import default

from workbench.core.errors import BadInput
from workbench.core.units import format_size, parse_size
from workbench.report import page
from workbench.report.markdown import Contents, markdown
from workbench.report.outputs import Outputs, inert_json
from workbench.report.preprocessors import DropRunnerMarks, HidePersonal, LiftParts, MarkFailures

SUMMARY_SCHEMA = 1
SIZES = ("train", "test", "batch", "length", "steps", "epochs", "examples", "pictures")  #: zero takes the task's own
FILE = "%%writefile "  #: how a cell begins whose other lines are a file


class BuildPage(Preprocessor):
    """Last step: every cell as safe HTML, and what the page carries once, into ``resources``."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        contents, outputs = Contents(), Outputs(page.modules())
        facts = _facts(nb, resources["parameters"])
        cells = [_cell(cell, i, contents, outputs) for i, cell in enumerate(nb.cells)]
        heads = [text for level, _, text in contents if level == 1]
        resources["title"] = heads[0] if heads else facts["name"] or "Report"
        resources["cells"] = [c for c in (_without_title(c) for c in cells) if c]
        resources["contents"] = [entry for entry in contents if entry[0] > 1]
        if not resources["command"] and facts["command"]:
            resources["command"] = {"text": facts["command"]}
        resources["facts"] = facts
        resources["asks"] = outputs.asked
        resources["summary"] = inert_json(_summary(resources, facts, outputs, nb))
        _assets(resources, outputs)
        return nb, resources


def _facts(nb: NotebookNode, resolved: dict[str, Any]) -> dict[str, Any]:
    """What the runner noted in the notebook's metadata; parameters as the notebook resolved them, empty ones not."""
    noted = nb.metadata.get("pintpot", {})
    params = {**noted.get("params", {}), **resolved}
    return {
        "name": str(noted.get("name", "")),
        "params": {str(k): _shown(str(k), v) for k, v in params.items() if not _left_open(str(k), v, params)},
        "created": str(noted.get("created", "")),
        "profile": str(noted.get("profile", "")),
        "seconds": noted.get("seconds"),
        "command": str(noted.get("command", "")),
        "status": str(noted.get("status", "")),
    }


def _left_open(name: str, value: Any, params: dict[str, Any]) -> bool:
    """Whether a parameter says nothing: empty, a size that zero leaves to the task, an exercise nobody did, or one
    value where all of them are listed."""
    return (
        bool(params.get(f"{name}s") or params.get(f"{name}es"))
        or value in ("", None, [], ())
        or ((name in SIZES or name.startswith("my_")) and not value)
    )


def _shown(name: str, value: Any) -> str:
    if name == "budget":
        with suppress(BadInput):
            return format_size(parse_size(value))
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cell(cell: NotebookNode, index: int, contents: Contents, outputs: Outputs) -> dict[str, Any]:
    anchor = str(index + 1)
    tags = set(cell.metadata.get("tags", []))
    if cell.cell_type == "markdown":
        return {"kind": "markdown", "anchor": anchor, "html": markdown(cell.source, contents)}
    if cell.cell_type != "code":
        return {}
    failed = any(o.output_type == "error" for o in cell.outputs)
    skipped = bool(cell.metadata.get("pintpot_not_run"))
    if cell.source.startswith(FILE) and not failed:
        return {"kind": "file", "anchor": anchor, "skipped": skipped, "outputs": [_file(cell.source)]}
    shown = [html for html in (outputs.render(o) for o in cell.outputs) if html]
    if "keep-input" in tags and not failed:
        kept = [_lines(cell.source, "Lines that were not run" if skipped else "Lines that ran")]
        return {"kind": "file", "anchor": anchor, "skipped": skipped, "outputs": kept + shown}
    if skipped:
        code = highlighted(cell.source)
        number = cell.metadata.get("pintpot_number")
        return {"kind": "code", "anchor": anchor, "number": number, "skipped": True, "outputs": [], "code": code}
    code = "" if "remove-input" in tags and not failed else highlighted(cell.source)
    if not shown and not code:
        return {}
    number = cell.metadata.get("pintpot_number")
    kind = "code" if shown else "bare"
    return {"kind": kind, "anchor": anchor, "number": number, "failed": failed, "outputs": shown, "code": code}


def _file(source: str) -> Markup:
    """A file that a cell writes is what the page is about, so it is shown; where it went is nobody's concern."""
    return _lines(source.partition("\n")[2], "A file")


def _lines(source: str, name: str) -> Markup:
    """Source that is itself what there is to read: a file, or assertions that held."""
    shown = highlighted(source)
    return Markup('<pre class="file" tabindex="0" aria-label="{}"><code>{}</code></pre>').format(name, shown)


def _without_title(cell: dict[str, Any]) -> dict[str, Any]:
    """The first heading stands in the page's head already."""
    if cell.get("kind") == "markdown":
        before, mark, after = str(cell["html"]).partition("</h1>")
        if mark and before.lstrip().startswith("<h1"):
            cell = {**cell, "html": Markup(after)}
    return cell


def highlighted(source: str) -> Markup:
    """Python source as escaped HTML with a class for each kind of token."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    if not source.strip():
        return Markup("")
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))


def _summary(resources: dict[str, Any], facts: dict[str, Any], outputs: Outputs, nb: NotebookNode) -> dict[str, Any]:
    """What the gallery reads back: plain data, no markup."""
    return {
        "schema": SUMMARY_SCHEMA,
        "title": resources["title"],
        "answer": str(resources["answer"].get("text", "")),
        "status": facts["status"]
        if facts["status"] not in ("", "done")
        else "failed"
        if resources["failed"]
        else "done",
        "failed_cells": resources["failed"],
        "name": facts["name"],
        "params": facts["params"],
        "profile": facts["profile"],
        "created": facts["created"],
        "seconds": facts["seconds"],
        "figures": outputs.figures,
        "asks": outputs.asked,
        "thumbnail": _thumbnail(nb),
    }


def _status(facts: dict[str, Any], resources: dict[str, Any]) -> str:
    """What the runner said of the end, unless it saw none and a cell failed all the same."""
    return "failed" if resources["failed"] and facts["status"] in ("", "done") else facts["status"] or "done"


def _thumbnail(nb: NotebookNode) -> dict[str, Any]:
    """What a card draws: points of the first figure of score, else bars of memory, else another figure's points."""
    from workbench.report.emit import FIGURE

    infos: dict[str, Any] = {}
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            payload = output.get("data", {}).get(FIGURE, {})
            infos.setdefault(payload.get("kind", ""), payload.get("info"))
    if infos.get("pareto"):
        points = [
            [p["peak"], p["values"]["score"]["at"], p["colour"]]
            for p in infos["pareto"]["points"]
            if p["peak"] and "score" in p["values"]
        ]
        return {"points": points, "budget": infos["pareto"]["budget"]}
    for kind, values in (("categories", "sizes"), ("papers", "counts")):
        if infos.get(kind):
            info = infos[kind]
            return {"bars": [list(zip(bar[values], info["colours"])) for bar in info["bars"]]}
    if info := infos.get("saved_map"):
        kept = [info["splits"][place] for place in info["states"][0]["splits"]]
        return {"bars": [list(zip(split, info["colours"])) for split in kept if any(split)]}
    if info := infos.get("fit"):
        return {"bars": [list(zip(m["by_category"], info["colours"])) for m in info["methods"] if m["by_category"]]}
    if infos.get("prediction"):
        return {"points": [[p["measured"], p["predicted"], p["colour"]] for p in infos["prediction"]["points"]]}
    if infos.get("curves"):
        return {"points": [point for curve in infos["curves"]["curves"] for point in _course(curve)]}
    return {}


def _course(curve: dict[str, Any], count: int = 20) -> list[list[Any]]:
    """A few points of a loss curve, as many for each; steps count from 1, since cards have a logarithmic axis."""
    points = list(zip(curve["steps"], curve["mean"]))[:: max(1, len(curve["steps"]) // count)][:count]
    return [[step + 1, loss, curve["colour"]] for step, loss in points]


def _assets(resources: dict[str, Any], outputs: Outputs) -> None:
    script, style = page.script(outputs.used), page.style()
    allowed = [script]
    resources["library"] = ""
    if outputs.plotly:
        source = page.plotly_source()
        allowed.append(source)
        resources["library"] = Markup(page.packed(source))
    resources["script"] = Markup(script)
    resources["style"] = Markup(style)
    resources["policy"] = Markup(page.policy(allowed, [style], loose_styles=outputs.plotly))


class ReportExporter(HTMLExporter):
    """nbconvert's exporter with our template, our steps, escaping switched on and nothing fetched.

    The stock exporter's outputs run scripts of the notebook and load libraries from the network; here every
    output is rebuilt from its best safe representation, and a policy by hash allows the page's script alone.
    """

    export_from_notebook = "pintpot report"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "pintpot"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        return [str(page.TEMPLATES)]

    @default("preprocessors")
    def _preprocessors_default(self) -> list[Any]:
        return [DropRunnerMarks, HidePersonal, MarkFailures, LiftParts, BuildPage]

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.autoescape = True
        return environment

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page and its resources. The parent's last pass through a parser is left out: scripts are hashed."""
        return TemplateExporter.from_notebook_node(self, nb, self._init_resources(resources), **options)


def to_html(nb: NotebookNode) -> tuple[str, dict[str, Any]]:
    """The page of an executed notebook and ``{"failed": [cell numbers], "title", "answer", ...}``."""
    return ReportExporter().from_notebook_node(nb)
