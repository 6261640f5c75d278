"""Run a captured step through torch's compiler: fused kernels, at the price of minutes of compilation.

The compiler gets the functional graph of forward and backward; updates follow it, so all gradients are alive at
once. Random operators stay torch's own and draw the same numbers as eager code. What it allocates cannot be
seen beforehand, only measured.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._guards import TracingContext, tracing
from torch.utils._python_dispatch import _disable_current_modes

from workbench.core.attribution import at
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.engine.capture import Joint, LossOf, NotCaptured, capture
from workbench.engine.executor import Sink, held_tensors
from workbench.engine.limits import TooSlow, within
from workbench.engine.prune import prune
from workbench.engine.schedule import storages

COMPILE_LIMIT = 600.0  #: seconds after which compilation is given up


class InductorExecutor:
    """One micro-batch through the compiled graph; ``seconds`` is what compiling it took."""

    name = "inductor"

    def __init__(
        self,
        model: nn.Module,
        loss_of: LossOf,
        batch: Mapping[str, Tensor],
        *,
        divisor: int = 1,
        limit: float = COMPILE_LIMIT,
    ) -> None:
        """Capture and compile. Raises ``NotCaptured`` when either fails or takes longer than ``limit`` seconds."""
        started = time.perf_counter()
        try:
            with within(limit, "compiling the step"), _disable_current_modes():
                self.joint, self._compiled = _compile(model, loss_of, batch, divisor)
        except (NotCaptured, TooSlow) as error:
            raise NotCaptured(str(error)) from error
        except Exception as error:  # a compiler may fail in any way
            first = str(error).strip().split("\n")[0][:200]
            raise NotCaptured(f"the step cannot be compiled ({type(error).__name__}: {first})") from error
        self.seconds = time.perf_counter() - started
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self._updated = [parameters[name] for name in self.joint.gradients]
        tensors = held_tensors(self.joint, model)
        self._held = [tensors.get(node.name) for node in self.joint.graph.find_nodes(op="placeholder")]
        self._written = [tensors[self.joint.buffers[name].name] for name in self.joint.mutations]
        alike = Counter(s for gradient in self.joint.gradients.values() for s in storages(gradient))
        self._shared = {p for p, g in zip(self._updated, self.joint.gradients.values()) if alike[min(storages(g))] > 1}
        places = {node: i for i, node in enumerate(self.joint.graph.find_nodes(op="placeholder"))}
        self._inputs = [(places[node], name) for name, node in self.joint.batch.items()]
        self._tangent = None if self.joint.tangent is None else places[self.joint.tangent]

    def __call__(self, batch: Mapping[str, Tensor], sink: Sink) -> Tensor:
        """The detached loss of one micro-batch; every gradient has gone through ``sink``."""
        arguments: list[Any] = list(self._held)
        for place, name in self._inputs:
            arguments[place] = batch[name]
        if self._tangent is not None:
            arguments[self._tangent] = torch.ones(())
        with torch.no_grad():
            with in_phase(Phase.BACKWARD):  # the compiler mixes both passes; the backward one is at the peak
                loss, *rest = self._compiled(arguments)
            rest.reverse()
            with in_phase(Phase.UPDATE):
                at(Phase.UPDATE, "")
                for parameter in self._updated:
                    sink(parameter, rest.pop().clone() if parameter in self._shared else rest.pop())
                for buffer in self._written:
                    buffer.copy_(rest.pop())
                at(None, None)
        return loss  # type: ignore[no-any-return]


def _compile(model: nn.Module, loss_of: LossOf, batch: Mapping[str, Tensor], divisor: int) -> tuple[Joint, Any]:
    import torch._inductor.config as settings
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table

    # Compiling in this thread alone leaves no process behind when it is given up.
    with settings.patch(fallback_random=True, compile_threads=1):
        joint = prune(capture(model, loss_of, batch, divisor=divisor, decompositions=select_decomp_table()))
        examples = [node.meta["val"] for node in joint.graph.find_nodes(op="placeholder")]
        module = fx.GraphModule(joint.graph.owning_module or {}, joint.graph)
        with tracing(TracingContext(examples[0].fake_mode)), torch.no_grad():
            return joint, compile_fx_inner(module, examples)  # type: ignore[arg-type]
