"""The four small parts a tuning method is made of, and the training step that runs them.

Almost every paper changes one of four things: what is trained (``Selection``), where the gradient comes
from (``Estimator``), how it becomes an update (``Optimizer``), how tensors are kept (``Storage``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from workbench.engine.journal import Journal


@runtime_checkable
class Selection(Protocol):
    """What is trained. Sets ``requires_grad`` and may wrap the model (adapters)."""

    def attach(self, model: nn.Module) -> nn.Module:
        """Return the model to train. Works on meta tensors too. Raises ``Incompatible`` with a reason."""
        ...


@runtime_checkable
class Storage(Protocol):
    """How tensors are kept (dtype, quantized or packed weights, packed saved tensors)."""

    def encode(self, model: nn.Module) -> nn.Module:
        """Return the model with its tensors re-encoded; called after ``Selection.attach``."""
        ...


@runtime_checkable
class Optimizer(Protocol):
    """How a gradient becomes an update."""

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """A torch optimizer over exactly these parameters; called once, or once per parameter.

        A rule that is ``w <- w - lr g`` and nothing else may say so with a class attribute ``adds = True``.
        """
        ...


@runtime_checkable
class DirectOptimizer(Protocol):
    """An ``Optimizer`` whose kernel can be called for one parameter without the optimizer's own loop."""

    def apply(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: Tensor) -> None:
        """What ``optimizer.step()`` does with this gradient, to the bit; the parameter's state exists already."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """Where the gradient comes from."""

    uses_backward: ClassVar[bool]
    """Whether autograd saves tensors for a backward pass; levers on saved tensors ask.

    An estimator that changes nothing but through the step's updates may say so with ``gives_up = True``: a step of its
    is then given up in its middle when the run is cancelled.
    """

    def prepare(self, model: nn.Module) -> None:
        """Change the model once before training (recompute wrappers, hooks); called after ``encode``."""
        ...

    def step(self, step: Step) -> Tensor:
        """Run one training step through ``step`` and return the detached loss.

        Marks forward, backward and update with ``workbench.core.phase.in_phase``.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """An estimator that goes by what it decided earlier; a checkpoint keeps that, beside the tensors that moved."""

    def remembered(self) -> dict[str, Any]:
        """What was decided so far, as plain data for JSON."""
        ...

    def remember(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`remembered` gave."""
        ...


class Step(Protocol):
    """What an estimator may do in one training step."""

    model: nn.Module
    parameters: list[nn.Parameter]
    seed: int
    lr: float
    loss_of: Callable[[nn.Module, dict[str, Tensor]], Tensor]
    batches: Sequence[dict[str, Tensor]]
    observer: Callable[[nn.Parameter], None] | None
    journal: Journal | None
    epoch: int

    @property
    def rule_adds(self) -> bool:
        """Whether an update is minus the rate times the gradient and nothing else: an estimator may add it itself."""
        ...

    def losses(self) -> Iterator[Tensor]:
        """The loss of each micro-batch in turn, already divided by their number; computed when asked for."""
        ...

    def loss(self) -> Tensor:
        """The loss of the whole step (micro-batches summed); for estimators that need no graph."""
        ...

    def update(self) -> None:
        """Apply the optimizer to every parameter's ``.grad`` and drop the gradients."""
        ...

    def update_one(self, parameter: nn.Parameter) -> None:
        """Apply the optimizer to one parameter's ``.grad`` and drop it at once."""
        ...

    def update_from(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        """Apply the optimizer to one parameter with this gradient, by the shortest way its rule has."""
        ...

    def optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        """The optimizer that holds this parameter."""
        ...


@dataclass(frozen=True)
class Parts:
    """One method's parts. ``lr`` is the default learning rate at which this combination trains well."""

    selection: Selection
    estimator: Estimator
    optimizer: Optimizer
    storage: Storage
    per_parameter: bool = False
    """Build one optimizer per parameter, so that ``update_one`` can run inside backward."""


@dataclass
class TrainingStep:
    """One training step of one method, the same object for prediction, measurement and training.

    ``loss_of(model, batch)`` is the task's loss. ``micro`` micro-batches are accumulated per step. Calling
    it with a list of ``micro`` batches (or one batch) performs the step and returns the detached loss.
    """

    model: nn.Module
    parts: Parts
    loss_of: Callable[[nn.Module, dict[str, Tensor]], Tensor]
    lr: float
    parameters: list[nn.Parameter] = field(init=False)
    seed: int = 0
    observer: Callable[[nn.Parameter], None] | None = None
    """Called with each parameter just before its update, while its gradient is there."""
    journal: Journal | None = None
    """Where an estimator writes updates that are known from a few numbers; see ``workbench.engine.journal``."""
    epoch: int = 0
    """Passes over the training data before this step, for estimators that begin anew with each."""
    updated: int = field(init=False, default=0)
    """Parameters whose update the present step has applied so far."""
    _optimizers: dict[int, torch.optim.Optimizer] = field(init=False, default_factory=dict)
    batches: Sequence[dict[str, Tensor]] = field(init=False, default=())
    committing: Callable[[], None] | None = field(init=False, default=None)
    """Called before each update: from the first on, a step is done as a whole."""

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Build fresh optimizer state over ``parameters``."""
        make = self.parts.optimizer.build
        if self.parts.per_parameter:
            self._optimizers = {id(p): make([p], self.lr) for p in self.parameters}
        else:
            shared = make(self.parameters, self.lr) if self.parameters else None
            self._optimizers = {} if shared is None else {0: shared}

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return list(self._optimizers.values())

    @property
    def rule_adds(self) -> bool:
        return bool(getattr(self.parts.optimizer, "adds", False))

    def set_lr(self, lr: float) -> None:
        self.lr = lr
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr

    def optimizer_state(self) -> Iterator[Tensor]:
        """Every tensor the optimizers keep between steps."""
        import torch

        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                stack = list(state.values())
                while stack:
                    value = stack.pop()
                    if isinstance(value, torch.Tensor):
                        yield value
                    elif isinstance(value, dict):
                        stack.extend(value.values())
                    elif isinstance(value, list | tuple):
                        stack.extend(value)
            # Some libraries keep tables beside the state (quantization maps).
            tables = [v for k, v in vars(optimizer).items() if isinstance(v, dict) and k not in ("state", "defaults")]
            yield from (t for table in tables for t in table.values() if isinstance(t, torch.Tensor))

    def __call__(self, batches: dict[str, Tensor] | Sequence[dict[str, Tensor]], seed: int | None = None) -> Tensor:
        if seed is not None:
            self.seed = seed
        self.batches = [batches] if isinstance(batches, dict) else batches
        self.updated = 0
        try:
            return self.parts.estimator.step(self)
        finally:
            self.batches = ()

    def losses(self) -> Iterator[Tensor]:
        count = len(self.batches)
        for batch in self.batches:
            loss = self.loss_of(self.model, batch)
            yield loss / count if count > 1 else loss

    def loss(self) -> Tensor:
        total: Any = 0.0
        for loss in self.losses():
            total = total + loss
        return total

    def update(self) -> None:
        if self.committing is not None:
            self.committing()
        if self.observer is not None:
            for parameter in self.parameters:
                self.observer(parameter)
        for optimizer in self.optimizers:
            optimizer.step()
            self.updated += len(optimizer.param_groups[0]["params"])
            optimizer.zero_grad(set_to_none=True)

    def update_one(self, parameter: nn.Parameter) -> None:
        if self.committing is not None:
            self.committing()
        if self.observer is not None:
            self.observer(parameter)
        optimizer = self.optimizer_of(parameter)
        group = optimizer.param_groups[0]
        everything, group["params"] = group["params"], [parameter]  # a shared optimizer would step them all
        try:
            optimizer.step()
        finally:
            group["params"] = everything
        self.updated += 1
        parameter.grad = None

    def optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        """The optimizer that holds this parameter: its own, or the one shared by all."""
        return self._optimizers[id(parameter) if self.parts.per_parameter else 0]

    def update_from(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        import torch

        if self.committing is not None:
            self.committing()
        rule, optimizer = self.parts.optimizer, self.optimizer_of(parameter)
        if gradient.stride() != parameter.stride():  # as autograd does: kernels go through both in one order
            gradient = torch.empty_like(parameter).copy_(gradient)
        if self.observer is None and isinstance(rule, DirectOptimizer) and parameter in optimizer.state:
            rule.apply(optimizer, parameter, gradient)
            self.updated += 1
        else:
            parameter.grad = gradient
            self.update_one(parameter)
