"""How a notebook shows what the bench answers: values stay plain, and how they look is registered here by name."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.core.profile import MemoryProfile
    from workbench.figures.info import FigureInfo
    from workbench.figures.table import Table
    from workbench.plan.fit_table import Verdicts
    from workbench.plan.planned import Plan


def register() -> None:
    """Tell IPython, where it runs. Nothing is imported for it: types are named, and drawn when first shown."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or shell.display_formatter is None:
        return
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type_by_name("workbench.core.profile", "MemoryProfile", profile_html)
    formatter.for_type_by_name("workbench.plan.fit_table", "Verdicts", fits_html)
    formatter.for_type_by_name("workbench.plan.planned", "Plan", plan_html)
    shell.events.register("post_run_cell", held)


def held(result: Any) -> None:
    """Say of a cell that is mostly assertions that they hold, once it ended well; silence could mean it was not run."""
    import ast

    if not result.success or "assert " not in result.info.raw_cell:
        return
    try:
        lines = ast.parse(result.info.raw_cell).body
    except SyntaxError:  # a magic
        return
    count = sum(isinstance(line, ast.Assert) for line in lines)
    if count > 1 and 2 * count >= len(lines):
        from workbench.report.emit import held as said

        said(count)


def profile_html(profile: MemoryProfile) -> str:
    """The sentence of the peak, its split, and the step moment by moment where a timeline is there."""
    from workbench.figures import one_step

    split = [(str(c), f"{size:,}", _size(size)) for c, size in profile.by_category.items() if size]
    split += [(f"outside: {name}", f"{size:,}", _size(size)) for name, size in profile.outside.items()]
    table = _table(("category at the peak", "bytes", ""), [*split, ("peak", f"{profile.peak:,}", _size(profile.peak))])
    notes = "; ".join([str(profile.source), *profile.assumptions])
    picture = _figure(one_step(profile)) if profile.timeline else ""
    return f"<p>{html.escape(profile.sentence())}</p>{table}{picture}<p><small>{html.escape(notes)}</small></p>"


def fits_html(fits: Verdicts) -> str:
    """Every method against the budget: the picture of those whose peak is known, and the table of all."""
    from workbench.figures import fit_table, verdicts_table

    said = "Predicted peak of each method, split at the one moment at which its step is highest."
    info = replace(fit_table(fits.table, fits.budget, fits), caption=said)
    return f"<p>{html.escape(fits.sentence)}</p>{_figure(info)}{_shown(verdicts_table(fits))}"


def plan_html(plan: Plan) -> str:
    """The plan, what it rests on, slower ones that need less, and the command that trains by it or predicts it."""
    from workbench.figures import plan_table

    said = [plan.step_time.note if plan.step_time.value is None else "", plan.why_untrained]
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in said if note)
    command = f"<pre>{html.escape(plan.command)}</pre>"
    return f"<p><strong>{html.escape(plan.sentence)}</strong></p>{_shown(plan_table(plan))}{notes}{command}"


def _size(size: int) -> str:
    from workbench.core.units import format_size

    return format_size(size)


def _figure(info: FigureInfo) -> str:
    from workbench.figures.mpl import to_svg

    return f"<figure>{to_svg(info)}<figcaption>{html.escape(info.caption)}</figcaption></figure>"


def _shown(table: Table) -> str:
    from workbench.report.emit import table_html, table_payload

    return f"{table_html(table_payload(table))}<p><small>{html.escape(table.caption)}</small></p>"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    from workbench.report.emit import table_html

    return table_html({"columns": head, "rows": rows})
