"""A plan that was found: what it is, what it rests on, and the command that trains by it. A plain value."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from workbench.case import Case
from workbench.core.profile import MemoryProfile
from workbench.core.units import format_exactly, format_size, format_time
from workbench.plan.change import as_setting
from workbench.records.schema import Quantity


@dataclass(frozen=True)
class Other:
    """A slower plan that needs less, verified: ``peak`` in bytes is predicted, ``speed`` relative to the plan's."""

    case: Case
    peak: int
    speed: float

    @property
    def words(self) -> str:
        return settings_in_words(self.case)


@dataclass(frozen=True, repr=False)
class Plan:
    """The best case found, verified: ``predicted`` fits the budget. ``score`` is what was maximised.

    ``throughput`` is examples per second; ``candidates`` the size of the grid, all of it ranked, ``sized`` how many of
    them had their own settings sized, ``verified`` how many were predicted to be sure, and ``exhaustive`` whether all
    were sized. ``hurried`` says that time was spent while something faster was still promised.
    """

    case: Case
    device: str
    budget: int
    predicted: MemoryProfile
    step_time: Quantity
    step_energy: Quantity
    throughput: Quantity
    score: Quantity
    objective: str
    binds: str
    candidates: int
    sized: int
    verified: int
    exhaustive: bool
    interrupted: bool = False
    hurried: bool = False
    others: tuple[Other, ...] = ()

    def __repr__(self) -> str:
        return f"<Plan: {self.sentence}>"

    @property
    def words(self) -> str:
        """Batch, accumulation and settings, for a reader."""
        return settings_in_words(self.case)

    @property
    def sentence(self) -> str:
        """The plan in one sentence."""
        step = self.step_time
        time = f", a step in {format_time(step.value)} ({step.kind})" if step.value else ""
        peak = f"{format_size(self.predicted.peak)} of {format_size(self.budget)} (predicted)"
        return f"{self.case.method_name} with {self.words}: {peak}{time}."

    @property
    def searched(self) -> str:
        """How the plan was found."""
        stopped = "; stopped on request" if self.interrupted else ""
        stopped += "; time was spent, so something faster may have been left" if self.hurried else ""
        ranked = f"{self.sized} sized" if self.interrupted else f"all ranked, {self.sized} sized"
        how = "all sized" if self.exhaustive else ranked
        return f"{self.candidates} candidates: {how}, {self.verified} predicted to be sure{stopped}"

    @property
    def trained_here(self) -> bool:
        """Whether the model has weights to train: one that is known by its shapes is planned for another machine."""
        return not self.case.spec.cost_only

    @property
    def command(self) -> str:
        """The command that trains by this plan, or predicts it where that is all that can be done here."""
        case = self.case
        words = ["pintpot", "run" if self.trained_here else "predict"]
        words += ["--task", case.task_name, "--model", case.model_name, "--method", case.method_name]
        words += ["--device", self.device, "--budget", format_exactly(self.budget)] if self.trained_here else []
        words += ["--batch", str(case.batch)]
        words += ["--accumulate", str(case.accumulate)] if case.accumulate > 1 else []
        words += ["--length", str(case.length)] if case.length is not None else []
        for name, value in case.settings.items():
            words += ["--set", as_setting(name, value)]
        return shlex.join(words)

    @property
    def why_untrained(self) -> str:
        """Why the command trains nothing; empty where it does."""
        if self.trained_here:
            return ""
        shapes = f"{self.case.model_name} ships as shapes only and is not trained here"
        return f"{shapes}; the command predicts the planned step"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; sizes in bytes, times in seconds."""
        case = self.case
        return {
            "method": case.method_name,
            "settings": dict(case.settings),
            "batch": case.batch,
            "accumulate": case.accumulate,
            "length": case.length,
            "budget": self.budget,
            "predicted": {"peak": self.predicted.peak, "by_category": dict(self.predicted.by_category)},
            "source": str(self.predicted.source),
            "step_time": vars(self.step_time),
            "step_energy": vars(self.step_energy),
            "throughput": vars(self.throughput),
            "objective": self.objective,
            "score": vars(self.score),
            "binds": self.binds,
            "candidates": self.candidates,
            "sized": self.sized,
            "verified": self.verified,
            "interrupted": self.interrupted,
            "hurried": self.hurried,
            "exhaustive": self.exhaustive,
            "others": [{"change": o.words, "peak": o.peak, "relative speed": o.speed} for o in self.others],
            "command": self.command,
            "why_untrained": self.why_untrained,
        }


def settings_in_words(case: Case) -> str:
    """Batch, accumulation and what else was changed, for a reader."""
    batch = f"batch {case.batch}" + (f" accumulated {case.accumulate} times" if case.accumulate > 1 else "")
    return ", ".join([batch, *(_setting(n, v) for n, v in case.settings.items())])


def _setting(name: str, value: Any) -> str:
    said = name.replace("_", " ")
    if isinstance(value, bool):
        return said if value else f"no {said}"
    return f"{said} {value}"
