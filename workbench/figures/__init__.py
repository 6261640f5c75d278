"""Figures as information first: pure functions from runs to small frozen values, drawn elsewhere."""

from workbench.figures.answer import answer
from workbench.figures.categories import categories
from workbench.figures.curves import curves
from workbench.figures.errors import errors, errors_answer, errors_table
from workbench.figures.fit import fit, fit_table
from workbench.figures.forecast import beside_published, forecast, forecast_answer, forecast_costs
from workbench.figures.gradients import gradients
from workbench.figures.info import FigureInfo
from workbench.figures.papers import papers_answer, papers_map, papers_table
from workbench.figures.pareto import pareto
from workbench.figures.prediction import prediction
from workbench.figures.saved import saved
from workbench.figures.table import split, table
from workbench.figures.timeline import timeline

__all__ = [
    "FigureInfo",
    "answer",
    "beside_published",
    "categories",
    "curves",
    "errors",
    "errors_answer",
    "errors_table",
    "fit",
    "fit_table",
    "forecast",
    "forecast_answer",
    "forecast_costs",
    "gradients",
    "papers_answer",
    "papers_map",
    "papers_table",
    "pareto",
    "prediction",
    "saved",
    "split",
    "table",
    "timeline",
]
