"""Prints any figure as a small, byte-stable SVG whose text and axes follow the page's theme."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

from workbench.figures import svg
from workbench.figures.info import FigureInfo

#: Drawing module of each kind of figure; each has ``draw(info) -> matplotlib Figure``.
KINDS = (
    "pareto", "curves", "timeline", "gradients", "saved", "prediction", "categories", "fit", "papers", "errors",
    "visited", "update_order", "run", "points", "schedule", "compare", "grid", "guess", "norm_ratios", "extra_bytes",
    "courses", "estimates", "saved_map", "kept_by_block", "trade", "dynamics", "few_bits", "drawings", "token_times",
    "budget_search",
)  # fmt: skip

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": svg.INK,
    "axes.labelcolor": svg.INK,
    "axes.titlecolor": svg.INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": svg.INK,
    "xtick.color": svg.INK,
    "ytick.color": svg.INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": svg.FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
}


def _drawing(kind: str) -> Callable[[Any], Any]:
    import importlib

    draw: Callable[[Any], Any] = importlib.import_module(f"workbench.figures.mpl.{kind}").draw
    return draw


def to_svg(info: FigureInfo) -> str:
    """The figure as one SVG element without styles, scripts or fixed size. The same info gives the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    digest = hashlib.sha256(json.dumps(info.data(), sort_keys=True).encode()).hexdigest()[:8]
    settings: Any = {**_SETTINGS, "svg.hashsalt": digest}  # matplotlib lists its names as literals
    with matplotlib.rc_context(settings):
        figure = _drawing(info.kind)(info)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            buffer, metadata={"Date": None, "Creator": None}
        )
    return svg.clean(buffer.getvalue(), f"{info.kind}-{digest}-")
