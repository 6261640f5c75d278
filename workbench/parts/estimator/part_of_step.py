"""A training step seen by an estimator that has a part of its parameters to answer for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from workbench.core.errors import Incompatible
from workbench.parts.base import Step


class PartOfStep:
    """The step as it is, except that ``parameters`` are fewer and that ``seed`` may be another.

    A journal holds updates of all parameters, so a step that is done in parts has none.
    """

    journal = None

    def __init__(self, step: Step, parameters: Sequence[nn.Parameter], seed: int) -> None:
        if step.journal is not None:
            raise Incompatible("journal", "on", "a step that is done in parts is not known from seeds and slopes alone")
        self._step, self.parameters, self.seed = step, list(parameters), seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)
