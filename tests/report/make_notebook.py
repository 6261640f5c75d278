"""Builds the executed notebook of a synthetic report without a kernel."""

from __future__ import annotations

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.report import emit
from workbench.report.provenance import provenance

MARKS = {"synthetic board": 512 * 2**20}


def figure_output(info):
    data = {emit.FIGURE: emit.figure_payload(info), "image/svg+xml": to_svg(info), "text/plain": info.alt}
    return new_output("display_data", data=data)


def output(mime, value, **others):
    return new_output("display_data", data={mime: value, **others})


def table_output(table):
    return output(emit.TABLE, emit.table_payload(table))


def synthetic_notebook(records, title="Synthetic comparison of tuning methods", extra=()):
    """Headings, figures, table, answer and provenance in the order of the real comparison."""
    code = new_code_cell
    cells = [
        new_markdown_cell(f"# {title}\n\nWhich method fits the budget? **Synthetic data**, for tests."),
        code("budget: str = '256 MiB'  # memory budget", metadata={"tags": ["parameters"]}),
        code(
            "from workbench.report import emit\nrecords = load()  # synthetic",
            outputs=[
                output(emit.ANSWER, {"text": figures.answer(records)}),
                figure_output(figures.pareto(records)),
            ],
        ),
        new_markdown_cell("## All methods"),
        code("emit.table(figures.table(records))", outputs=[table_output(figures.table(records))]),
        new_markdown_cell("## What fits another budget"),
        code("emit.show(figures.fit(records))", outputs=[figure_output(figures.fit(records, marks=MARKS))]),
        new_markdown_cell("## Where the memory goes"),
        code("emit.show(figures.categories(records))", outputs=[figure_output(figures.categories(records))]),
        code("emit.show(figures.timeline(records))", outputs=[figure_output(figures.timeline(records))]),
        code("emit.show(figures.saved(records))", outputs=[figure_output(figures.saved(records))]),
        new_markdown_cell("## How training went"),
        code("emit.show(figures.curves(records))", outputs=[figure_output(figures.curves(records))]),
        code("emit.show(figures.gradients(records))", outputs=[figure_output(figures.gradients(records))]),
        new_markdown_cell("## How far predictions are off"),
        code("emit.show(figures.prediction(records))", outputs=[figure_output(figures.prediction(records))]),
        *extra,
        code("", outputs=[output(emit.PROVENANCE, provenance({"budget": "256 MiB"}, records))]),
    ]  # fmt: skip
    notebook = new_notebook(cells=cells)
    notebook.metadata["pintpot"] = {
        "name": "compare-methods", "params": {"task": "synthetic-task", "model": "synthetic-model", "budget": "256 MiB",
        "seeds": [0, 1, 2]}, "created": "2026-01-01 00:00 UTC", "profile": "quick", "seconds": 1.0,
        "command": "pintpot report compare-methods -p budget='256 MiB'", "status": "done",
    }  # fmt: skip
    nbformat.validate(notebook)
    return notebook
