"""S4: planted secrets, paths and names, in variables, outputs, tracebacks and parameters: what of them is kept."""

from __future__ import annotations

import os
import random
import string
from pathlib import Path
from typing import Any

from faults.frame import Experiment, Figures, Setting

LETTERS = string.ascii_letters + string.digits


def _planted(chance: random.Random, size: int) -> list[tuple[str, str, str]]:
    """(kind, variable name or empty, text): half are values of variables, the rest tokens and paths by shape."""
    found = []
    for number in range(size):
        text = "".join(chance.choices(LETTERS, k=30))
        kind = ("variable", "variable", "token", "home", "address")[number % 5]
        found.append(
            {
                "variable": (kind, f"PLANTED_{number}_KEY", f"s{text}"),
                "token": (kind, "", chance.choice(("hf_", "ghp_", "sk-")) + text),
                "home": (kind, "", f"/home/u{text[:8].lower()}"),
                "address": (kind, "", f"{text[:9]}:{text[9:20]}"),
            }[kind]
        )
    return found


def _notebook(planted: list[tuple[str, str, str]], values: dict[str, Any]) -> Any:
    """What a run could leave: a secret in each kind of output, in the source, in a traceback, in papermill's notes."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    cells = []
    for number, (kind, _, text) in enumerate(planted):
        shown = f"https://{text}@example.invalid/x" if kind == "address" else f"{text}/file" if kind == "home" else text
        output = (
            new_output("stream", name="stdout", text=f"value {shown}\n"),
            new_output("error", ename="E", evalue=f"bad {shown}", traceback=[f"\x1b[31mFile {shown}\x1b[0m"]),
            new_output("display_data", data={"text/html": f"<b>{shown}</b>", "text/plain": shown}),
            new_output("display_data", data={"application/vnd.pintpot.table+json": {
                "columns": ["a"], "rows": [[shown]], "csv": shown}}),
        )[number % 4]  # fmt: skip
        cells.append(new_code_cell(f"key = '{shown}'" if number % 7 == 0 else "run()", outputs=[output]))
    notebook = new_notebook(cells=cells)
    notebook.metadata["papermill"] = {"input_path": f"{Path.home()}/n.ipynb", "output_path": str(Path.cwd()),
                                      "parameters": values, "environment_variables": {}}  # fmt: skip
    return notebook


def _looked_at(texts: dict[str, str], planted: list[tuple[str, str, str]]) -> Figures:
    found: Figures = {"planted": len(planted)}
    return found | {name: sum(text in kept for _, _, text in planted) for name, kept in texts.items()}


def _run(setting: Setting, *, clean: bool) -> Figures:
    """Write notebook, page, record and log as the product does (``clean``), or with the second line taken out."""
    from contextlib import nullcontext
    from dataclasses import replace
    from unittest import mock

    import nbformat

    from faults.examples import RECORD
    from workbench.cli.failure import explain
    from workbench.records.store import RunStore
    from workbench.report.exporter import to_html
    from workbench.report.runner import without_personal

    planted = _planted(random.Random(setting.seed), setting.size)
    before = dict(os.environ)
    os.environ |= {name: text for _, name, text in planted if name} | {"PINTPOT_CACHE": str(setting.folder)}
    off = [] if clean else ["core.redaction._clean"]
    try:
        with mock.patch(f"workbench.{off[0]}", lambda text: text) if off else nullcontext():
            raw = nbformat.writes(_notebook(planted, {"token": planted[0][2]}))
            kept = without_personal(raw)
            page, _ = to_html(nbformat.reads(kept, as_version=4))
            store = RunStore(setting.folder / "runs")
            everything = " ".join(t if k != "address" else f"https://{t}@x" for k, _, t in planted)
            store.put("k", replace(RECORD, reason=everything))
            try:
                raise ValueError(everything)
            except ValueError:
                said = explain()
    finally:
        os.environ.clear()
        os.environ.update(before)
    stored = repr([(line, store.get(line.id)) for line in store.lines()])
    log = " ".join(p.read_text() for p in (setting.folder / "log").glob("*.txt"))
    texts = {"in notebooks": kept, "in pages": page, "in records": stored, "in logs": log + said}
    return _looked_at(texts, planted)


def ours(setting: Setting) -> Figures:
    return _run(setting, clean=True)


def unredacted(setting: Setting) -> Figures:
    return _run(setting, clean=False)


def papermill(setting: Setting) -> Figures:
    """papermill and nbconvert on the same outputs: what they would keep."""
    import nbformat
    from nbconvert import HTMLExporter

    planted = _planted(random.Random(setting.seed), setting.size)
    notebook = _notebook(planted, {"token": planted[0][2]})
    page, _ = HTMLExporter().from_notebook_node(notebook)
    return _looked_at({"in notebooks": nbformat.writes(notebook), "in pages": page}, planted)


def _met(figures: Figures) -> bool:
    return figures["planted"] > 0 and not any(n for name, n in figures.items() if name.startswith("in "))


EXPERIMENT = Experiment(
    name="S4",
    test="secrets in variables, tokens, addresses and homes, in outputs, sources, tracebacks, parameters and errors",
    target="none in a notebook, a page, a record or a log",
    unit="planted texts",
    short=40,
    long=200,
    ours=ours,
    met=_met,
    controls={"without redaction": unredacted},
    peers={"papermill and nbconvert": papermill},
)
