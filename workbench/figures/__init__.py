"""Figures as information first: pure functions from runs to small frozen values, drawn elsewhere."""

from workbench.figures.answer import answer
from workbench.figures.categories import categories
from workbench.figures.courses import courses, courses_answer, courses_table
from workbench.figures.curves import curves
from workbench.figures.errors import errors, errors_answer, errors_table
from workbench.figures.estimates import estimates
from workbench.figures.fit import fit, fit_table
from workbench.figures.forecast import beside_published, forecast, forecast_answer, forecast_costs
from workbench.figures.gradients import gradients
from workbench.figures.info import FigureInfo
from workbench.figures.low_state import low_state_answer, low_state_table, paper_memory, refresh_table
from workbench.figures.papers import papers_answer, papers_map, papers_table
from workbench.figures.pareto import pareto
from workbench.figures.prediction import prediction
from workbench.figures.run import run
from workbench.figures.saved import saved
from workbench.figures.scheme import scheme
from workbench.figures.table import split, table
from workbench.figures.timeline import timeline
from workbench.figures.update_order import update_order
from workbench.figures.visited import visited

__all__ = [
    "FigureInfo",
    "answer",
    "beside_published",
    "categories",
    "courses",
    "courses_answer",
    "courses_table",
    "curves",
    "errors",
    "errors_answer",
    "errors_table",
    "estimates",
    "fit",
    "fit_table",
    "forecast",
    "forecast_answer",
    "forecast_costs",
    "gradients",
    "low_state_answer",
    "low_state_table",
    "paper_memory",
    "papers_answer",
    "papers_map",
    "papers_table",
    "pareto",
    "prediction",
    "refresh_table",
    "run",
    "saved",
    "scheme",
    "split",
    "table",
    "timeline",
    "update_order",
    "visited",
]
