"""The planned step of a case on a microcontroller: every buffer, its life and its place."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.core.errors import Incompatible
from workbench.core.units import format_size
from workbench.engine.integer_plan import STATE, Buffer, Line, StepPlan, plan_net
from workbench.records.content import content_key

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.nn.integer_net import IntegerNet

__all__ = ["Buffer", "Line", "StepPlan", "plan_net", "plan_step", "require_head"]

#: Settings that say what of a net trains and how, and leave the net as it is.
_SCHEME = ("biases", "update", "updates", "gradients", "optimizer", "lr", "qas", "rounding")
_KEPT = 4  #: nets
_nets: OrderedDict[str, Any] = OrderedDict()
_one_at_a_time = threading.Lock()


def plan_step(case: Case, batch: int = 1) -> StepPlan:
    """The plan of one step of ``case`` on ``batch`` examples. Raises ``Incompatible`` where no integer graph trains."""
    reason = case.refusal()
    if reason is None and (case.method_name != "int8-training" or case.config.graph != "int8"):
        reason = "a microcontroller's step is planned for the int8 graph of int8-training only"
    if reason is not None:
        raise Incompatible("method", case.method_name, reason)
    if case.config.optimizer not in STATE:
        raise Incompatible("optimizer", case.config.optimizer, f"planned are {', '.join(sorted(STATE))}")
    graph: Any = case.method.parts(case.config).storage
    with _one_at_a_time:  # the kept net is marked for one scheme after the other
        net = _net(case)
        graph.updates.mark(net, graph.everything)
        plan: StepPlan = case.method.device_plan(net, case.spec, case.config, case.length, batch)
    return plan


def _net(case: Case) -> IntegerNet:
    """The case's net in integers, of shapes alone. A search plans hundreds of schemes of one net: it is kept."""
    bare = replace(case, settings={name: value for name, value in case.settings.items() if name not in _SCHEME})
    key = content_key(bare.identity())
    if key not in _nets:
        _nets[key] = bare.attached(device="meta", weights=False)
        while len(_nets) > _KEPT:
            _nets.popitem(last=False)
    return _nets[key]


def require_head(case: Case, budget: int, batch: int = 1) -> StepPlan:
    """The plan of training the head alone; raises ``Incompatible`` naming the shortfall when not even that fits."""
    plan = plan_step(replace(case, settings={**case.settings, **case.method.least}), batch)
    if plan.sram > budget:
        more = format_size(plan.sram - budget)
        reason = f"the head alone, over the int8 forward pass, needs {format_size(plan.sram)}, {more} more"
        raise Incompatible("budget", format_size(budget), reason)
    return plan
