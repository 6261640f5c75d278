"""Capture one training step's forward and backward pass as one graph of aten operators, on fake tensors.

The joint graph has a gradient output for every parameter that requires one and for no other, so what is frozen
costs no backward operator. Nothing of the model is run: its tensors are replaced by fake ones for the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._functorch._aot_autograd.descriptors import (
    BufferAOTInput,
    GradAOTOutput,
    InputMutationAOTOutput,
    ParamAOTInput,
    PlainAOTInput,
    PlainAOTOutput,
    TangentAOTInput,
)
from torch._functorch.aot_autograd import aot_export_joint_with_descriptors
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import traceback as annotations
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import _disable_current_modes

from workbench.core.names import plain

LossOf = Callable[[nn.Module, dict[str, Tensor]], Tensor]

MODULE = "pintpot_module"  #: key of an annotation: the name of the module that called the operator


class NotCaptured(RuntimeError):
    """The step cannot be written as one graph; the message is one sentence."""


@dataclass
class Joint:
    """A joint graph and what its inputs and outputs are. Names are those of the model's own tensors.

    ``tangent`` is the gradient of the loss by itself. ``mutations`` gives the new value of each buffer that the
    forward pass moves. ``graph`` returns ``(loss, *gradients, *mutations)``.
    """

    graph: fx.Graph
    parameters: dict[str, fx.Node]
    buffers: dict[str, fx.Node]
    batch: dict[str, fx.Node]
    tangent: fx.Node | None
    loss: fx.Node
    gradients: dict[str, fx.Node]
    mutations: dict[str, fx.Node]

    @property
    def placeholders(self) -> dict[str, fx.Node]:
        return {**self.parameters, **self.buffers}

    def replace(self, node: fx.Node, other: fx.Node) -> None:
        """Let ``other`` stand for ``node`` everywhere, among the outputs as well."""
        node.replace_all_uses_with(other)
        for outputs in (self.gradients, self.mutations):
            outputs.update({name: other for name, value in outputs.items() if value is node})
        if self.loss is node:
            self.loss = other

    def set_output(self) -> None:
        """Make the graph's output follow ``loss``, ``gradients`` and ``mutations``."""
        self.graph.output_node().args = ((self.loss, *self.gradients.values(), *self.mutations.values()),)


def capture(
    model: nn.Module,
    loss_of: LossOf,
    batch: Mapping[str, Tensor],
    *,
    divisor: int = 1,
    decompositions: Mapping[Any, Any] | None = None,
) -> Joint:
    """The joint graph of ``loss_of(model, batch) / divisor`` for batches of these shapes.

    Works on real, fake and meta tensors alike and leaves the model, random state and ambient modes untouched.
    Raises ``NotCaptured`` where the step's control flow asks for values.
    """
    names = list(batch)
    _refuse_hooks(model)

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Tensor) -> Tensor:
            loss = loss_of(self.model, dict(zip(names, tensors)))
            return loss / divisor if divisor > 1 else loss

    try:
        with _disable_current_modes(), _traceable(), torch.random.fork_rng(devices=[]), ExitStack() as stack:
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            stack.enter_context(_as_fakes(model, mode))
            stack.enter_context(_annotated(model))
            root = Loss()
            root.training = model.training
            inputs = tuple(_fake(mode, t) for t in batch.values())
            joint = aot_export_joint_with_descriptors(
                stack, root, inputs, decompositions=dict(decompositions) if decompositions else None
            )
            made = _described(joint.graph_module.graph, names)
        _merge_ties(made, model)
        return made
    except NotCaptured:
        raise
    except Exception as error:  # whatever a model's code does that no tracer follows
        first = str(error).strip().split("\n")[0][:200]
        raise NotCaptured(f"the step cannot be captured as a graph ({type(error).__name__}: {first})") from error


def _refuse_hooks(model: nn.Module) -> None:
    """A hook on a gradient changes the method, and no trace of the loss shows it."""
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise NotCaptured(f"a hook changes the gradient of {name}, which a captured graph would not see")


def _described(graph: fx.Graph, names: list[str]) -> Joint:
    """Sort inputs and outputs by their descriptors, and drop the outputs that say nothing."""
    joint = Joint(graph, {}, {}, {}, None, graph.output_node(), {}, {})
    for node in graph.find_nodes(op="placeholder"):
        about = node.meta["desc"]
        if isinstance(about, ParamAOTInput):
            joint.parameters[_own(about.target)] = node
        elif isinstance(about, BufferAOTInput):
            joint.buffers[_own(about.target)] = node
        elif isinstance(about, PlainAOTInput):
            joint.batch[names[about.idx]] = node
        elif isinstance(about, TangentAOTInput):
            joint.tangent = node
        else:
            raise NotCaptured(f"the captured graph takes an input of a kind that is not known here: {about}")
    output = graph.output_node()
    for node, about in zip(output.args[0], output.meta["desc"]):  # type: ignore[arg-type]
        if node is None:
            continue
        if isinstance(about, PlainAOTOutput):
            joint.loss = node
        elif isinstance(about, GradAOTOutput) and isinstance(about.grad_of, ParamAOTInput):
            joint.gradients[_own(about.grad_of.target)] = node
        elif isinstance(about, InputMutationAOTOutput) and isinstance(about.mutated_input, BufferAOTInput):
            joint.mutations[_own(about.mutated_input.target)] = node
        else:
            raise NotCaptured(f"the captured graph gives an output of a kind that is not known here: {about}")
    graph.set_codegen(fx.graph.CodeGen())  # flat: the exported one packs and unpacks nested arguments
    joint.set_output()
    return joint


def _merge_ties(joint: Joint, model: nn.Module) -> None:
    """A tensor known by several names becomes one input, and its gradient the sum over its names."""
    first: dict[int, str] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        kept = first.setdefault(id(tensor), name)
        if kept == name or name not in joint.parameters:
            continue
        tied = joint.parameters.pop(name)
        tied.replace_all_uses_with(joint.parameters[kept])
        joint.graph.erase_node(tied)
        more = joint.gradients.pop(name, None)
        if more is not None:
            joint.gradients[kept] = _sum(joint, joint.gradients[kept], more) if kept in joint.gradients else more
    joint.set_output()


def _sum(joint: Joint, first: fx.Node, second: fx.Node) -> fx.Node:
    later = max(first, second)
    with joint.graph.inserting_after(later):
        total = joint.graph.call_function(torch.ops.aten.add.Tensor, (first, second))
    total.meta = {**later.meta, "val": torch.ops.aten.add.Tensor(first.meta["val"], second.meta["val"])}
    return total


def _own(name: str) -> str:
    return name.removeprefix("model.")


# -- what is changed while tracing -------------------------------------------------------------------------


def _fake(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    with mode:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def _view(mode: FakeTensorMode, tensor: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """A fake of ``tensor`` in the fake of its storage, which other tensors may share."""
    storage = tensor.untyped_storage()
    with mode:
        if storage._cdata not in bases:
            bases[storage._cdata] = torch.empty(storage.nbytes(), dtype=torch.uint8, device="cpu")
        base = bases[storage._cdata][: storage.nbytes() // tensor.element_size() * tensor.element_size()]
        return base.view(tensor.dtype).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


@contextmanager
def _as_fakes(model: nn.Module, mode: FakeTensorMode) -> Iterator[None]:
    """Every parameter, buffer and tensor attribute of ``model`` replaced by a fake one; ties and views are kept."""
    made: dict[int, Tensor] = {}
    bases: dict[int, Tensor] = {}
    originals: list[tuple[dict[str, Any], str, Tensor]] = []

    def replacement(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            fake = _view(mode, tensor, bases)
            if isinstance(tensor, nn.Parameter):
                fake = nn.Parameter(fake, requires_grad=tensor.requires_grad)
                fake.__dict__.update({k: v for k, v in vars(tensor).items() if k not in vars(fake)})
            made[id(tensor)] = fake
        return made[id(tensor)]

    try:
        for module in model.modules():
            for held in (module._parameters, module._buffers, module.__dict__):
                for name, value in list(held.items()):
                    if isinstance(value, Tensor):
                        originals.append((held, name, value))
                        held[name] = replacement(value)
        yield
    finally:
        for held, name, value in originals:
            held[name] = value


@contextmanager
def _annotated(model: nn.Module) -> Iterator[None]:
    """Note on every traced operator which module called it; backward operators inherit it from forward ones."""
    names = {id(m): plain(name) for name, m in model.named_modules()}
    open_calls: list[ExitStack] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        if id(module) in names:
            call = ExitStack()
            call.enter_context(annotations.annotate({MODULE: names[id(module)]}))
            open_calls.append(call)

    def leave(module: nn.Module, _inputs: Any, _output: Any) -> None:
        if id(module) in names and open_calls:
            open_calls.pop().close()

    with annotations.preserve_node_meta(), ExitStack() as stack:
        for handle in (
            module_hooks.register_module_forward_pre_hook(enter),
            module_hooks.register_module_forward_hook(leave, always_call=True),
        ):
            stack.callback(handle.remove)
        yield


@contextmanager
def _traceable() -> Iterator[None]:
    """Model libraries ask whether they are being compiled, and then leave out questions about values."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before
