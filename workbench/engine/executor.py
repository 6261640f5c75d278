"""Run a schedule: generated code, one line per operator, in which each value dies at its last use.

What depends on the parameters' storages alone (their transposes and other views) is made once. Where torch has a
direct binding that dispatches exactly the operator of the graph, it is called instead of the slower generic one;
that it is the same is checked for each operator on fake tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from workbench.core.attribution import at, made_gradient, watched
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.engine.capture import Joint, NotCaptured
from workbench.engine.schedule import Entry, Schedule, made_by, shared_gradients

#: What to do with a parameter's gradient once it is complete: update, or add it to what is there.
Sink = Callable[[nn.Parameter, Tensor], None]


class GraphExecutor:
    """Runs one micro-batch of the captured shape; ``sink`` takes each gradient where the schedule says."""

    name = "graph"

    def __init__(self, plan: Schedule, model: nn.Module) -> None:
        self.plan = plan
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self._held = held_tensors(plan.joint, model)
        self.parameters = {name: parameters[name] for name in plan.joint.gradients}
        self._shared = shared_gradients(plan)
        self._space: dict[str, Any] = {}
        self._views: dict[str, fx.Node] = {}
        with _disable_current_modes():  # the checks of operators on fake tensors are no part of a watched step
            sources = [self._source(watching=watching) for watching in (False, True)]
        self._functions = [_compiled(source, self._space) for source in sources]
        self._storages: list[int] = []
        self._bind()

    # -- code ------------------------------------------------------------------------------------------

    def _source(self, *, watching: bool) -> str:
        joint = self.plan.joint
        inputs = [node.name for node in joint.batch.values()]
        if joint.tangent is not None:
            inputs.append(joint.tangent.name)
        lines = [f"def run(sink, {', '.join(inputs)}):"]
        hoisted = {n.name: n for n in self._hoisted()}
        constants = {n.name for n in joint.graph.nodes if n.op == "get_attr"}
        self._views = hoisted
        for index, entry in enumerate(self.plan.entries):
            if entry.kind == "operator" and entry.node.name in hoisted:
                continue
            if watching:
                self._space[f"_at{index}"] = (entry.phase, entry.module)
                lines.append(f"at(*_at{index})")
            lines.extend(self._lines(entry, index, watching))
            dying = [name for name in entry.frees if name not in hoisted and name not in constants]
            if dying:
                lines.append(f"del {', '.join(dying)}")
        lines.append(f"return {joint.loss.name}")
        return "\n    ".join(lines)

    def _lines(self, entry: Entry, index: int, watching: bool) -> list[str]:
        node = entry.node
        if entry.kind == "write":
            return [f"{self.plan.joint.buffers[entry.name].name}.copy_({node.name})"]
        if entry.kind == "update":
            self._space[f"_p{index}"] = self.parameters[entry.name]
            told = [f"gradient({node.name}, {entry.module!r})"] if watching else []
            # The gradient is the sink's own from here: it may keep it, or add to it.
            own = ".clone()" if entry.name in self._shared else ""
            return [*told, f"sink(_p{index}, {node.name}{own})"]
        if node.op == "get_attr":
            self._space[node.name] = _constant(node)
            return []
        self._space[f"_f{index}"] = direct_call(node)
        call = f"_f{index}({self._arguments(node, index)})"
        value = node.meta.get("val")
        if not isinstance(value, tuple | list):
            return [f"{node.name} = {call}"]
        items = {user.args[1]: user.name for user in made_by(entry)}
        if not items:
            return [call]
        if len(items) == 1:
            ((position, name),) = items.items()
            return [f"{name} = {call}[{position}]"]
        names = [items.get(i, "_") for i in range(len(value))]
        return [f"{', '.join(names)} = {call}", *(["del _"] if "_" in names else [])]

    def _arguments(self, node: fx.Node, index: int) -> str:
        count = 0

        def written(value: Any) -> str:
            nonlocal count
            if isinstance(value, fx.Node):
                return value.name
            if isinstance(value, list | tuple) and any(isinstance(v, fx.Node) for v in value):
                return "[" + ", ".join(written(v) for v in value) + "]"
            if value is None or isinstance(value, bool | int):
                return repr(value)
            count += 1
            name = f"_c{index}_{count}"
            self._space[name] = list(value) if isinstance(value, list | tuple) else value
            return name

        positional = [written(a) for a in node.args]
        return ", ".join(positional + [f"{k}={written(v)}" for k, v in node.kwargs.items()])

    # -- what is made once -----------------------------------------------------------------------------

    def _hoisted(self) -> list[fx.Node]:
        """Views whose only source is a parameter or buffer: they stay right while the storage stays."""
        made = set(self.plan.joint.placeholders.values())
        found = []
        for node in self.plan.joint.graph.nodes:
            if node.op != "call_function" or not getattr(node.target, "is_view", False):
                continue
            known = bool(node.all_input_nodes) and all(n in made for n in node.all_input_nodes)
            if known and not isinstance(node.meta.get("val"), tuple | list):
                made.add(node)
                found.append(node)
        return found

    def _bind(self) -> None:
        """Look the tensors up anew: at first, and whenever one got other storage."""
        self._space.update(at=at, gradient=made_gradient)
        with torch.no_grad(), _disable_current_modes():
            self._space.update({name: tensor.detach() for name, tensor in self._held.items()})
            for name, node in self._views.items():
                args = [self._space[a.name] if isinstance(a, fx.Node) else a for a in node.args]
                self._space[name] = node.target(*args, **node.kwargs)  # type: ignore[operator]
        self._storages = self._now()

    def _now(self) -> list[int]:
        """Which storage each tensor has; the old ones are held here, so an address cannot come back as another's."""
        return [tensor.untyped_storage()._cdata for tensor in self._held.values()]

    # -- running -----------------------------------------------------------------------------------------

    def __call__(self, batch: Mapping[str, Tensor], sink: Sink) -> Tensor:
        """The detached loss of one micro-batch; every gradient has gone through ``sink``."""
        if self._storages != self._now():
            self._bind()
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            inputs = [batch[name] for name in self.plan.joint.batch]
            if self.plan.joint.tangent is not None:
                inputs.append(torch.ones((), dtype=self.plan.joint.tangent.meta["val"].dtype))
            if not watched():
                return self._functions[0](sink, *inputs)
            with in_phase(Phase.FORWARD):
                try:
                    return self._functions[1](sink, *inputs)
                finally:
                    at(None, None)


def _compiled(source: str, space: dict[str, Any]) -> Callable[..., Any]:
    made: dict[str, Any] = {}
    exec(compile(source, "<captured step>", "exec"), space, made)
    return made["run"]


def held_tensors(joint: Joint, model: nn.Module) -> dict[str, Tensor]:
    """The model's tensor behind each placeholder of a parameter or buffer, by the placeholder's name."""
    tensors: dict[str, Tensor] = {
        **dict(model.named_buffers(remove_duplicate=False)),
        **dict(model.named_parameters(remove_duplicate=False)),
    }
    return {node.name: tensors[name] for name, node in joint.placeholders.items()}


def _constant(node: fx.Node) -> Tensor:
    value = getattr(node.graph.owning_module, str(node.target))
    if isinstance(value, FakeTensor) or not isinstance(value, Tensor):
        raise NotCaptured("the captured graph holds a constant without values")
    return value


# -- the direct binding of an operator ---------------------------------------------------------------------


class _Heard(TorchDispatchMode):
    """Notes which operators a call dispatches, and runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def direct_call(node: fx.Node) -> Callable[..., Any]:
    """The fastest callable that dispatches exactly this operator with these arguments."""
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        raise NotCaptured(f"the captured graph calls {target}, which is no plain operator")
    name = target._schema.name.partition("::")[2]
    if target.namespace == "aten" and not target._schema.is_mutable:
        for home in (torch._C._VariableFunctions, torch._C._nn, torch.Tensor):
            binding = getattr(home, name, None)
            if binding is not None and _dispatches(binding, node):
                return binding  # type: ignore[no-any-return]
    return target._op  # type: ignore[no-any-return]


def _dispatches(binding: Callable[..., Any], node: fx.Node) -> bool:
    args = fx.node.map_arg(node.args, lambda n: n.meta["val"])
    kwargs = fx.node.map_arg(node.kwargs, lambda n: n.meta["val"])
    try:
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            wanted, heard = _Heard(), _Heard()
            with wanted:
                node.target._op(*args, **kwargs)  # type: ignore[union-attr]
            with heard:
                binding(*args, **kwargs)
    except Exception:  # not every binding takes the schema's arguments
        return False
    return _same(wanted.calls, heard.calls)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return first is second
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first)
    return bool(first == second) and type(first) is type(second)
