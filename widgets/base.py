"""The base of every panel: one info object, one browser module, one static twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from workbench.figures.info import FigureInfo

STATIC = Path(__file__).parent / "static"


class Panel(anywidget.AnyWidget):
    """Draws ``info`` in the browser. The same module draws the same data in a report without a kernel."""

    _css = STATIC / "panel.css"
    kind: ClassVar[str] = ""

    info = traitlets.Dict().tag(sync=True)

    def __init__(self, figure: FigureInfo, **traits: Any) -> None:
        if figure.kind != self.kind:
            raise TypeError(f"{type(self).__name__} draws {self.kind!r}, not {figure.kind!r}")
        self.figure = figure
        super().__init__(info=_data(figure), **traits)

    def update(self, figure: FigureInfo) -> None:
        """Show other data of the same kind; every view redraws."""
        if figure.kind != self.kind:
            raise TypeError(f"{type(self).__name__} draws {self.kind!r}, not {figure.kind!r}")
        self.figure = figure
        self.info = _data(figure)

    def finished(self) -> FigureInfo:
        """The figure for a report, which has no kernel behind it."""
        return self.figure


def _data(figure: FigureInfo) -> dict[str, Any]:
    return figure.data()
