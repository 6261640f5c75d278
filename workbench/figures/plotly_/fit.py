"""The same drawing as of categories: what a step takes, by category."""

from workbench.figures.plotly_.categories import draw

__all__ = ["draw"]
