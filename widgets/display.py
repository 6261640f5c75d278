"""Shows a figure or panel: live where a front end is there, as data for the report where none is."""

from __future__ import annotations

import os

from widgets.base import Panel
from widgets.forms import Form
from workbench.figures.info import FigureInfo

HEADLESS = "PINTPOT_HEADLESS"  #: set by the report runner


def headless() -> bool:
    """Whether the notebook is being executed for a report, with nobody looking on."""
    return bool(os.environ.get(HEADLESS))


def show(what: FigureInfo | Panel | Form) -> Panel | Form | None:
    """Display a figure, its panel or a form and return what is live, if there is anything.

    As the last line of a cell end it with a semicolon: a notebook shows the value of that line once more.

    Headless, or for a figure without an interactive form, the static twin is emitted: the report starts the same
    browser module on its stored data. A form leaves the table of what it asks for.
    """
    from widgets.panels import panel_for
    from workbench.report import emit

    if isinstance(what, Form) and headless():
        emit.table(what.rows(), f"What the form of {what.name} asks for; in a notebook each setting is a control.")
        return None
    if headless():
        emit.show(what.finished() if isinstance(what, Panel) else what)
        return None
    panel = what if isinstance(what, Panel | Form) else panel_for(what)
    if panel is None:
        emit.show(what)
        return None
    from IPython.display import display

    display(panel)
    return panel
