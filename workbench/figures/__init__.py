"""Figures as information first: pure functions from runs to small frozen values, drawn elsewhere."""

from workbench.figures.answer import answer
from workbench.figures.budget_search import budget_search
from workbench.figures.categories import categories
from workbench.figures.compare import compare
from workbench.figures.courses import courses, courses_answer, courses_table
from workbench.figures.curves import curves
from workbench.figures.drawings import drawings
from workbench.figures.dynamics import dynamics
from workbench.figures.errors import errors, errors_answer, errors_table
from workbench.figures.estimates import estimates
from workbench.figures.extra_bytes import extra_bytes
from workbench.figures.few_bits import few_bits, few_bits_answer, few_bits_table, flips_table
from workbench.figures.fit import fit, fit_table
from workbench.figures.forecast import beside_published, forecast, forecast_answer, forecast_costs
from workbench.figures.forgetting import forgetting, forgetting_table
from workbench.figures.gradients import gradients
from workbench.figures.grid import grid
from workbench.figures.guess import guess
from workbench.figures.info import FigureInfo
from workbench.figures.kept_by_block import kept_by_block
from workbench.figures.low_state import low_state_answer, low_state_table, paper_memory, refresh_table
from workbench.figures.microcontroller import (
    contribution_table,
    learned_table,
    microcontroller_answer,
    planned_order,
    plans_table,
    sram_table,
    tuned_table,
)
from workbench.figures.norm_ratios import norm_ratios
from workbench.figures.operations import operations, operations_table
from workbench.figures.papers import papers_answer, papers_map, papers_table
from workbench.figures.pareto import pareto
from workbench.figures.personalise import (
    personalise_answer,
    personalise_directions,
    personalise_drawings,
    personalise_table,
)
from workbench.figures.planned import plan_table, verdicts_table
from workbench.figures.prediction import prediction
from workbench.figures.run import run
from workbench.figures.saved import saved
from workbench.figures.saved_map import saved_map
from workbench.figures.schedule import schedule
from workbench.figures.scheme import scheme
from workbench.figures.table import split, table
from workbench.figures.timeline import one_step, timeline
from workbench.figures.token_times import token_times
from workbench.figures.trade import stored_trade, trade, trade_table
from workbench.figures.update_order import update_order
from workbench.figures.visited import visited

__all__ = [
    "FigureInfo",
    "answer",
    "beside_published",
    "budget_search",
    "categories",
    "compare",
    "contribution_table",
    "courses",
    "courses_answer",
    "courses_table",
    "curves",
    "drawings",
    "dynamics",
    "errors",
    "errors_answer",
    "errors_table",
    "estimates",
    "extra_bytes",
    "few_bits",
    "few_bits_answer",
    "few_bits_table",
    "fit",
    "fit_table",
    "flips_table",
    "forecast",
    "forecast_answer",
    "forecast_costs",
    "forgetting",
    "forgetting_table",
    "gradients",
    "grid",
    "guess",
    "kept_by_block",
    "learned_table",
    "low_state_answer",
    "low_state_table",
    "microcontroller_answer",
    "norm_ratios",
    "one_step",
    "operations",
    "operations_table",
    "paper_memory",
    "papers_answer",
    "papers_map",
    "papers_table",
    "pareto",
    "personalise_answer",
    "personalise_directions",
    "personalise_drawings",
    "personalise_table",
    "plan_table",
    "planned_order",
    "plans_table",
    "prediction",
    "refresh_table",
    "run",
    "saved",
    "saved_map",
    "schedule",
    "scheme",
    "split",
    "sram_table",
    "stored_trade",
    "table",
    "timeline",
    "token_times",
    "trade",
    "trade_table",
    "tuned_table",
    "update_order",
    "verdicts_table",
    "visited",
]
