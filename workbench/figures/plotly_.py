"""The same figures for exploring: plotly drawings of the same info, never a widget of their own."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.categories import CategoriesInfo
from workbench.figures.compare import CompareInfo
from workbench.figures.courses import LABELS, CoursesInfo
from workbench.figures.curves import CurvesInfo
from workbench.figures.estimates import EstimatesInfo
from workbench.figures.extra_bytes import ExtraBytesInfo
from workbench.figures.fit import FitInfo
from workbench.figures.gradients import GradientsInfo
from workbench.figures.grid import GridInfo
from workbench.figures.guess import GuessInfo
from workbench.figures.info import FigureInfo
from workbench.figures.norm_ratios import NormRatiosInfo
from workbench.figures.pareto import ParetoInfo
from workbench.figures.points import PointsInfo
from workbench.figures.prediction import PredictionInfo
from workbench.figures.run import RunInfo
from workbench.figures.saved import SavedInfo
from workbench.figures.schedule import ScheduleInfo
from workbench.figures.timeline import TimelineInfo
from workbench.figures.update_order import UpdateOrderInfo
from workbench.figures.visited import VisitedInfo

_SYMBOLS = {
    "circle": "circle",
    "square": "square",
    "triangle": "triangle-up",
    "diamond": "diamond",
    "cross": "x",
    "plus": "cross",
    "down": "triangle-down",
    "pentagon": "pentagon",
}
_ALARM = "#C8102E"


def to_plotly(info: FigureInfo) -> Any:
    """A ``plotly.graph_objects.Figure`` of any figure info; sizes are on axes in MiB and exact in hover text."""
    import plotly.graph_objects as go

    figure = go.Figure()
    _DRAW[type(info)](figure, info)
    figure.update_layout(
        title=plain(info.title),
        template="plotly_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font_color="#808890",  # readable on light and on dark pages
        meta={"alt": plain(info.alt)},
    )
    return figure


def plain(text: str) -> str:
    """Text that plotly shows as it is: its own markup characters escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mib(size: float) -> float:
    return size / 2**20


def _pareto(figure: Any, info: ParetoInfo) -> None:
    for p in info.points:
        if p.peak is None or p.score is None:
            continue
        error = None
        if p.low is not None and p.high is not None:
            error = {"type": "data", "symmetric": False, "array": [p.high - p.score], "arrayminus": [p.score - p.low]}
        figure.add_scatter(
            x=[_mib(p.peak)],
            y=[p.score],
            error_y=error,
            mode="markers+text",
            text=[plain(p.label)],
            textposition="top center",
            name=plain(p.label),
            marker={"color": p.colour, "symbol": _SYMBOLS[p.marker], "size": 11},
            hovertemplate=f"{plain(p.label)}: %{{y:.3f}} at {format_size(p.peak)} ({p.peak_kind})<extra></extra>",
        )
    if info.budget is not None:
        figure.add_vline(x=_mib(info.budget), line_color=_ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title="peak memory of one step, MiB")
    figure.update_yaxes(title=plain(info.metric))


def _curves(figure: Any, info: CurvesInfo) -> None:
    for c in info.curves:
        for line in c.seeds:
            figure.add_scatter(
                x=line.steps, y=line.losses, mode="lines", opacity=0.3, showlegend=False, line={"color": c.colour},
                hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(x=c.steps, y=c.mean, mode="lines", name=plain(c.label), line={"color": c.colour, "width": 3})
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="training loss")


def _timeline(figure: Any, info: TimelineInfo) -> None:
    """The highest step; the other methods are in the interactive panel and in the printed small multiples."""
    if not info.steps:
        return
    step = max(info.steps, key=lambda s: s.peak)
    for name, colour in zip(info.categories, info.colours):
        figure.add_scatter(
            x=step.events, y=[_mib(v) for v in step.live[name]], stackgroup="live", name=name, line={"color": colour},
            mode="lines",
        )  # fmt: skip
    if info.budget is not None:
        figure.add_hline(y=_mib(info.budget), line_color=_ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title=f"event of one step, {plain(step.label)}")
    figure.update_yaxes(title="live, MiB")


def _gradients(figure: Any, info: GradientsInfo) -> None:
    """Methods side by side on one axis of columns; frozen and unrecorded cells stay empty."""
    import math

    columns = [(plain(f"{m.label} {s}"), m, j) for m in info.maps for j, s in enumerate(m.steps)]
    figure.add_heatmap(
        x=[name for name, _, _ in columns],
        y=[plain(layer) for layer in info.layers],
        z=[[math.log10(v) if (v := m.norms[i][j]) else None for _, m, j in columns] for i in range(len(info.layers))],
        colorscale="Viridis",
        colorbar={"title": "log10 norm"},
    )
    figure.update_yaxes(autorange="reversed")


def _saved(figure: Any, info: SavedInfo) -> None:
    for b in info.bars:
        figure.add_bar(
            y=[plain(layer) for layer in info.layers], x=[_mib(v) for v in b.sizes], orientation="h",
            name=plain(b.label), marker_color=b.colour,
        )  # fmt: skip
    figure.update_xaxes(title="saved for backward, MiB")
    figure.update_yaxes(autorange="reversed")


def _prediction(figure: Any, info: PredictionInfo) -> None:
    for p in info.points:
        figure.add_scatter(
            x=[_mib(p.measured)], y=[_mib(p.predicted)], mode="markers", name=plain(p.label),
            marker={"color": p.colour, "symbol": _SYMBOLS[p.marker], "size": 9},
            hovertemplate=f"{plain(p.run)}: {p.error:+.2%}<extra></extra>",
        )  # fmt: skip
    ends = (
        [_mib(f(v for p in info.points for v in (p.measured, p.predicted))) for f in (min, max)] if info.points else []
    )
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "#808890"}, name="no error")
    figure.update_xaxes(title="measured peak, MiB")
    figure.update_yaxes(title="predicted peak, MiB")


def _categories(figure: Any, info: CategoriesInfo | FitInfo) -> None:
    if isinstance(info, FitInfo):
        bars = [(m.label, m.by_category) for m in info.methods if m.peak is not None]
    else:
        bars = [(b.label, b.sizes) for b in info.bars]
    for i, (name, colour) in enumerate(zip(info.categories, info.colours)):
        figure.add_bar(
            y=[plain(label) for label, _ in bars], x=[_mib(sizes[i]) for _, sizes in bars], orientation="h",
            name=name, marker_color=colour,
        )  # fmt: skip
    if info.budget is not None:
        figure.add_vline(x=_mib(info.budget), line_color=_ALARM, line_dash="dash", annotation_text="budget")
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="peak, MiB")
    figure.update_yaxes(autorange="reversed")


def _visited(figure: Any, info: VisitedInfo) -> None:
    for way in info.ways:
        figure.add_bar(
            y=[plain(layer) for layer in info.layers], x=[v / 1e9 for v in way.backward_flops], orientation="h",
            name=plain(way.label),
        )  # fmt: skip
    figure.update_xaxes(title="operations of the backward pass, GFLOP")
    figure.update_yaxes(autorange="reversed")


def _update_order(figure: Any, info: UpdateOrderInfo) -> None:
    for pair in info.pairs:
        for line in pair.lines:
            figure.add_scatter(
                x=line.at, y=[_mib(v) for v in line.live], mode="lines", name=plain(f"{pair.way}, {line.label}")
            )
    figure.update_xaxes(title="place in the step")
    figure.update_yaxes(title="live bytes made in the step, MiB")


def _run(figure: Any, info: RunInfo) -> None:
    """Loss on the left axis, peaks and budget on the right; what the step is made of is in the panel and the print."""
    figure.add_scatter(x=info.steps, y=info.losses, mode="lines", name="loss", line={"color": info.colours[0]})
    peaks = [None if peak is None else _mib(peak) for peak in info.peaks]
    figure.add_scatter(x=info.steps, y=peaks, mode="lines", name="peak of the step", yaxis="y2",
                       line={"color": info.colours[3], "dash": "dot", "shape": "vh"})  # fmt: skip
    figure.update_layout(yaxis2={"title": "peak, MiB", "overlaying": "y", "side": "right", "rangemode": "tozero"})
    if info.budget is not None:
        figure.add_hline(y=_mib(info.budget), yref="y2", line_color=_ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="training loss", selector={"overlaying": None})


def _points(figure: Any, info: PointsInfo) -> None:
    for p in info.places:
        error = None
        if p.low is not None and p.high is not None:
            error = {"array": [p.high - p.y], "arrayminus": [p.y - p.low]}
        figure.add_scatter(x=[p.x], y=[p.y], error_y=error, mode="markers", name=plain(p.label),
                           marker={"color": p.colour, "symbol": _SYMBOLS[p.marker], "size": 11})  # fmt: skip
        figure.add_scatter(x=[x for _, x, _ in p.seeds], y=[y for _, _, y in p.seeds], mode="markers", showlegend=False,
                           hovertext=[f"seed {seed}" for seed, _, _ in p.seeds], name=plain(p.label),
                           marker={"color": p.colour, "symbol": _SYMBOLS[p.marker], "size": 5})  # fmt: skip
    if info.rule is not None:
        figure.add_hline(y=info.rule, line_dash="dash", annotation_text=plain(info.rule_label))
    figure.update_xaxes(title=plain(info.x_label), rangemode="tozero" if info.x_from_zero else "normal")
    figure.update_yaxes(title=plain(info.y_label))


def _schedule(figure: Any, info: ScheduleInfo) -> None:
    """What trains, the darker the more important, with the importance itself when pointed at."""
    figure.add_heatmap(
        z=[line.depths for line in info.lines], zmin=0, zmax=1, colorscale="Blues", showscale=False, xgap=1, ygap=2,
        x=[plain(name) for name in info.tensors], text=[line.importance for line in info.lines],
        y=[plain(f"{line.label}, epoch {line.epoch}: {line.share:.1%}") for line in info.lines],
        hovertemplate="%{y}<br>%{x}<br>importance %{text:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="tensor, from the output to the input", showticklabels=False)
    figure.update_yaxes(autorange="reversed")


def _compare(figure: Any, info: CompareInfo) -> None:
    """The facts in which the runs differ; one run alone shows all of its facts."""
    lines = [line for line in info.lines if line.differs or len(info.columns) == 1]
    columns = [[plain(line.name) for line in lines]]
    columns += [[plain(line.values[i]) for line in lines] for i in range(len(info.columns))]
    figure.add_table(header={"values": ["fact", *map(plain, info.columns)]}, cells={"values": columns})


def _grid(figure: Any, info: GridInfo) -> None:
    """The first two metrics against each other; a cell without both stays out."""
    if len(info.metrics) < 2:
        return
    y, x = info.metrics[:2]
    for cell in info.cells:
        if x.key not in cell.values or y.key not in cell.values:
            continue
        across, up = cell.values[x.key], cell.values[y.key]
        scale = 2**20 if x.unit == "bytes" else 1
        spread = {"type": "data", "symmetric": False, "array": [(up.high or up.mean) - up.mean],
                  "arrayminus": [up.mean - (up.mean if up.low is None else up.low)]}  # fmt: skip
        figure.add_scatter(
            x=[across.mean / scale], y=[up.mean], mode="markers", name=plain(cell.label), error_y=spread,
            marker={"color": cell.colour, "size": 11, "symbol": "circle-open" if cell.over else "circle"},
        )  # fmt: skip
    figure.update_xaxes(title=plain(x.title) + (", MiB" if x.unit == "bytes" else ""))
    figure.update_yaxes(title=plain(y.title))


def _guess(figure: Any, info: GuessInfo) -> None:
    marks = [
        ", ".join(word for word, on in (("guessed", i == info.choice), ("right", i == info.answer)) if on)
        for i in range(len(info.options))
    ]
    figure.add_table(
        header={"values": [plain(info.question), ""]}, cells={"values": [[*map(plain, info.options)], marks]}
    )


def _norm_ratios(figure: Any, info: NormRatiosInfo) -> None:
    for curve in info.curves:
        figure.add_scatter(
            x=[plain(layer) for layer in info.layers], y=curve.logarithms, mode="lines+markers", name=plain(curve.label)
        )
    figure.update_yaxes(title="log10 of weight norm / gradient norm")


def _extra_bytes(figure: Any, info: ExtraBytesInfo) -> None:
    for line in info.lines:
        points = [p for p in line.points if p.score is not None]
        figure.add_scatter(
            x=[p.extra / 1024 for p in points], y=[p.score for p in points], mode="lines+markers+text",
            text=[plain(p.label) for p in points], textposition="top center", name=plain(line.group),
        )  # fmt: skip
    figure.update_xaxes(title="SRAM beyond training the head alone, KiB")
    figure.update_yaxes(title="test score")


def _courses(figure: Any, info: CoursesInfo) -> None:
    """Every currency on one axis of shares; the legend turns lines on and off."""
    for way in info.ways:
        for track in way.tracks:
            figure.add_scatter(
                x=track.shares,
                y=track.means,
                mode="lines+markers",
                name=f"{plain(way.label)}, {LABELS[track.currency]}",
                legendgroup=plain(way.label),
                marker={"color": way.colour, "symbol": _SYMBOLS[way.marker]},
                hovertext=f"peak {format_size(way.peak)}",
            )
    figure.update_xaxes(title="share of the amount that is used up")
    figure.update_yaxes(title=plain(info.metric))


def _estimates(figure: Any, info: EstimatesInfo) -> None:
    for probes, line in zip(info.probes, info.cosines):
        figure.add_scatter(x=line, y=info.layers, mode="markers", name=f"{probes} probes")
    figure.update_xaxes(title="cosine to the true gradient")


_DRAW: dict[type[FigureInfo], Any] = {
    ParetoInfo: _pareto,
    CurvesInfo: _curves,
    TimelineInfo: _timeline,
    GradientsInfo: _gradients,
    SavedInfo: _saved,
    PredictionInfo: _prediction,
    CategoriesInfo: _categories,
    FitInfo: _categories,
    UpdateOrderInfo: _update_order,
    VisitedInfo: _visited,
    RunInfo: _run,
    PointsInfo: _points,
    ScheduleInfo: _schedule,
    CompareInfo: _compare,
    GridInfo: _grid,
    GuessInfo: _guess,
    NormRatiosInfo: _norm_ratios,
    ExtraBytesInfo: _extra_bytes,
    CoursesInfo: _courses,
    EstimatesInfo: _estimates,
}
