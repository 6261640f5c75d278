"""The planned step of a case on a microcontroller: every buffer, its life and its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.core.errors import Incompatible
from workbench.core.units import format_size
from workbench.engine.integer_plan import STATE, Buffer, Line, StepPlan, plan_net

if TYPE_CHECKING:
    from workbench.case import Case

__all__ = ["Buffer", "Line", "StepPlan", "plan_net", "plan_step", "require_head"]


def plan_step(case: Case, batch: int = 1) -> StepPlan:
    """The plan of one step of ``case`` on ``batch`` examples. Raises ``Incompatible`` where no integer graph trains."""
    reason = case.refusal()
    if reason is None and (case.method_name != "int8-training" or case.config.graph != "int8"):
        reason = "a microcontroller's step is planned for the int8 graph of int8-training only"
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    if case.config.optimizer not in STATE:
        raise Incompatible("optimizer", case.config.optimizer, f"planned are {', '.join(sorted(STATE))}")
    net = case.attached(device="meta", weights=False)
    plan: StepPlan = case.method.device_plan(net, case.spec, case.config, case.length, batch)
    return plan


def require_head(case: Case, budget: int, batch: int = 1) -> StepPlan:
    """The plan of training the head alone; raises ``Incompatible`` naming the shortfall when not even that fits."""
    plan = plan_step(replace(case, settings={**case.settings, **case.method.least}), batch)
    if plan.sram > budget:
        more = format_size(plan.sram - budget)
        reason = f"the head alone, over the int8 forward pass, needs {format_size(plan.sram)}, {more} more"
        raise Incompatible("budget", format_size(budget), reason)
    return plan
