"""Figures as information first: pure functions from runs to small frozen values, drawn elsewhere."""

from workbench.figures.answer import answer
from workbench.figures.categories import categories
from workbench.figures.curves import curves
from workbench.figures.fit import fit
from workbench.figures.gradients import gradients
from workbench.figures.info import FigureInfo
from workbench.figures.pareto import pareto
from workbench.figures.prediction import prediction
from workbench.figures.saved import saved
from workbench.figures.table import split, table
from workbench.figures.timeline import timeline

__all__ = [
    "FigureInfo",
    "answer",
    "categories",
    "curves",
    "fit",
    "gradients",
    "pareto",
    "prediction",
    "saved",
    "split",
    "table",
    "timeline",
]
