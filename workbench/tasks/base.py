"""A task: seeded splits of real data, how a batch is made, the loss, the metric. One task per file."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from workbench.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workbench.models.base import ModelSpec

Batch = dict[str, "Tensor"]
Lengths = tuple[int, int, str]  #: fewest and most that are allowed, and the words for them

tasks: Registry[Any] = Registry("task", "workbench.tasks", "pintpot.tasks")


@dataclass(frozen=True)
class Metrics:
    """Score of one evaluation. ``share`` says that the headline ``value`` is one of ``count`` examples, in [0, 1] and
    printed per cent; otherwise it is a number with the unit that ``name`` says, such as bits per byte."""

    name: str
    value: float
    count: int
    details: Mapping[str, float] = field(default_factory=dict)
    lower_is_better: bool = False
    share: bool = True


@dataclass(frozen=True)
class Sizes:
    """How much of the data to use; ``None`` takes the task's own default.

    ``validation`` training examples are set aside and scored on instead of the test set; ``None``: the test set is.
    """

    train: int | None = None
    test: int | None = None
    length: int | None = None
    validation: int | None = None

    def identity(self) -> dict[str, Any]:
        """What a run's key is made of."""
        return {name: value for name, value in vars(self).items() if name != "validation" or value is not None}


@dataclass
class TaskData:
    """Data of one task prepared for one model.

    ``train`` and ``test`` are sequences of examples (dicts of plain lists or tensors); ``hash`` is the
    SHA-256 of their content in order; ``mask_id`` names which tokens the loss counts. ``groups`` says of every
    training example whose it is, where examples of one source stay together in a split; empty: each stands alone.
    """

    train: Sequence[Mapping[str, Any]]
    test: Sequence[Mapping[str, Any]]
    classes: int | None
    labels: tuple[str, ...]
    hash: str
    mask_id: str
    split: str
    seed: int
    notes: tuple[str, ...] = ()
    groups: tuple[Any, ...] = ()


class Task(abc.ABC):
    """Base of every task. Importing a task file loads neither torch nor data."""

    name: ClassVar[str]
    title: ClassVar[str]
    doc: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]  #: kinds of model it can train
    metric: ClassVar[str]
    assets: ClassVar[tuple[str, ...]] = ()
    default_model: ClassVar[str]
    default_batch: ClassVar[int] = 16
    augments: ClassVar[bool] = False  #: whether an example comes out of ``collate`` changed at random
    objective: ClassVar[Literal["classification", "generation"]] = "classification"

    def check(self, model: ModelSpec) -> None:
        """Raise ``Incompatible`` when the model cannot serve this task."""
        from workbench.core.errors import Incompatible

        if model.kind not in self.kinds:
            cost = "tokens" if model.modality == "text" else "pixels"
            other = "" if model.kind == "image-denoiser" else f"; the task {cost} answers what it costs"
            raise Incompatible(
                "model",
                model.name,
                f"task {self.name} trains {' or '.join(self.kinds)} models, and it is of kind {model.kind}{other}",
            )

    def classes(self, model: ModelSpec) -> int | None:
        """Outputs of the fresh head this task needs; ``None`` for a language-model head. Needs no data."""
        return len(getattr(self, "labels", ())) or None

    @abc.abstractmethod
    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        """Read, split with ``seed`` and encode for ``model``. Refuses empty, one-class and truncated data."""

    def loaded(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        """Like :meth:`load`, with examples of ``sizes.validation`` in place of the test's where that is asked for."""
        from workbench.tasks.validation import set_aside

        data = self.load(model, sizes, seed)
        return data if sizes.validation is None else set_aside(data, sizes.validation, self.name)

    @abc.abstractmethod
    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        """Examples to one batch of tensors: the model's inputs by name, plus ``labels``."""

    @abc.abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scalar loss of one batch, mean over counted labels."""

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        """Share of wrong answers in one batch: an objective without a gradient."""
        from workbench.core.errors import Incompatible

        raise Incompatible("objective", "error", f"task {self.name} has no count of wrong answers")

    @abc.abstractmethod
    def score(self, model: nn.Module, data: TaskData, spec: ModelSpec, *, batch: int = 32) -> Metrics:
        """Evaluate on ``data.test``."""

    def length(self, model: ModelSpec) -> int:
        """Tokens of an example of a text task where nobody asks for another length."""
        return int(next(iter(self.example_batch(model, 1, None).values())).shape[-1])

    def lengths(self, model: ModelSpec) -> Lengths | None:
        """Fewest and most tokens of an example, and the words for them; ``None`` where examples are no texts."""
        from workbench.tasks.text import lengths_of

        return lengths_of(model) if model.modality == "text" else None

    @abc.abstractmethod
    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        """A synthetic batch with the shapes of a real one, for predictions; needs no data."""

    def batches(self, data: TaskData, spec: ModelSpec, size: int, seed: int, first: int = 0) -> Iterator[Batch]:
        """Endless shuffled batches, from number ``first`` on; the order is a pure function of (seed, epoch)."""
        import numpy as np

        from workbench.core.errors import BadInput
        from workbench.core.seeds import derive

        if not 1 <= size <= len(data.train):
            raise BadInput("batch", size, f"1 to {len(data.train)}, the number of training examples of {self.name}")
        epoch, skipped = divmod(first, len(data.train) // size)
        while True:
            order = np.random.default_rng(derive(seed, "order", epoch)).permutation(len(data.train))
            for start in range(skipped * size, len(order) - size + 1, size):
                yield self.collate([data.train[int(i)] for i in order[start : start + size]], spec)
            epoch, skipped = epoch + 1, 0


def register(task: type[Task]) -> type[Task]:
    """Class decorator: make a task known by its name."""
    return tasks.add(task.name, task)
