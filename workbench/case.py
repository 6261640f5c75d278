"""One case: a task, a model, a method and the shape of a batch. What every prediction and run is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput, Incompatible
from workbench.core.profile import MemoryProfile, Tier
from workbench.core.seeds import derive
from workbench.core.versions import installed_version
from workbench.records.content import content_key

if TYPE_CHECKING:
    from torch import nn

    from workbench.methods.base import Method
    from workbench.models.base import ModelSpec
    from workbench.parts.base import TrainingStep
    from workbench.tasks.base import Batch, Task

LARGEST_BATCH = 10**6  #: examples that anybody may ask for at once


@dataclass(frozen=True)
class Case:
    """Names and shapes, nothing built yet. ``settings`` are the method's config fields that differ from default.

    ``length`` is tokens for text and pixels a side for images; ``None`` takes the task's own. ``accumulate``
    micro-batches of ``batch`` examples make one step. With ``padded`` the synthetic examples of a text task end early:
    each is half as long as the one before it, down to one token, which takes masks that whole examples do without.
    Making a case checks every name and value.
    """

    task_name: str
    model_name: str
    method_name: str
    batch: int = 16
    length: int | None = None
    accumulate: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    padded: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "length"):
            value = getattr(self, name)
            if value is None and name == "length":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadInput(name, value, "a whole number of at least 1")
        self.task.check(self.spec)
        if self.padded and self.spec.modality != "text":
            raise Incompatible("padded", True, f"{self.model_name} reads no texts, and only those are padded")
        # The config first: reading it checks the method's name and every setting.
        if self.config.drops_gradients and self.accumulate > 1:
            raise Incompatible("accumulate", self.accumulate, "an update in backward drops each gradient at once")
        if self.config.prefix_cache != "none" and self.task.augments:
            reason = f"task {self.task_name} changes its examples at random, so nothing would be found again"
            raise Incompatible("prefix_cache", self.config.prefix_cache, reason)

    def __getstate__(self) -> dict[str, Any]:
        """Names and shapes alone; another process looks up the rest, which may come from a file that it has to load."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def task(self) -> Task:
        from workbench.tasks.base import tasks

        task: Task = tasks.get(self.task_name)()
        return task

    @cached_property
    def spec(self) -> ModelSpec:
        from workbench.models import resolve

        return resolve(self.model_name)

    @cached_property
    def method(self) -> Method:
        from workbench.methods.base import methods

        method: Method = methods.get(self.method_name)
        return method

    @cached_property
    def config(self) -> Any:
        """The method's validated settings; the learning rate follows the kind of model unless it is given."""
        own = self.method.lr_by_kind.get(self.spec.kind)
        return self.method.configure(**{**({} if own is None else {"lr": own}), **self.settings})

    @property
    def attached_config(self) -> Any:
        """The config with ``executor=auto`` replaced by the winner of a stored race, if there is one."""
        if self.config.executor != "auto":
            return self.config
        from workbench.races import stored

        result = stored(self)
        return self.config if result is None else self.config.model_copy(update={"executor": result.winner})

    def identity(self) -> dict[str, Any]:
        """Everything that decides the bytes of a step; the key of cached predictions and part of a run's."""
        return {
            "task": self.task_name,
            "model": self.model_name,
            "shape": dict(self.spec.config),
            "method": self.method_name,
            "config": self.attached_config.model_dump(),
            "batch": self.batch,
            "length": self.length,
            "accumulate": self.accumulate,
            **({"padded": True} if self.padded else {}),
            "torch": installed_version("torch"),
            "transformers": installed_version("transformers"),
            "peft": installed_version("peft"),
            **({"source": self.method.source} if self.method.source else {}),
        }

    def refused(self) -> Incompatible | None:
        """Why the method cannot serve the model at this length, from what both declare; ``None`` when nothing speaks
        against it."""
        reason = self.method.refuses(self.spec, self.config)
        return self._without_positions() if reason is None else Incompatible("method", self.method_name, reason)

    def refusal(self) -> str | None:
        """The reason of :meth:`refused` alone."""
        refused = self.refused()
        return None if refused is None else refused.reason

    @property
    def longest(self) -> int | None:
        """Most tokens of an example beside the method's virtual ones, where those take rows of a table of positions."""
        taken = self.method.virtual_tokens(self.config) if self.spec.position_table else 0
        limits = self.task.lengths(self.spec) if taken else None
        return None if limits is None else max(0, limits[1] - taken)

    def _without_positions(self) -> Incompatible | None:
        """Past the end of a table of positions a step fails, though not always where it runs without values."""
        longest, limits = self.longest, self.task.lengths(self.spec)
        if longest is None or limits is None:
            return None
        taken = self.method.virtual_tokens(self.config)
        words = f"{taken} virtual tokens take positions as well, which leaves"
        if longest < limits[0]:
            reason = f"{words} {longest} of the model's {limits[1]}, and an example takes {limits[0]} at least"
            return Incompatible("num_virtual_tokens", taken, reason)
        length = self.length or self.task.length(self.spec)
        if length <= longest:
            return None
        return Incompatible("length", length, f"{words} at most {longest} of the model's {limits[1]} to an example")

    def attached(self, *, device: str = "cpu", weights: bool = True, seed: int = 0) -> nn.Module:
        """The model with the method applied. Raises ``Incompatible`` as :meth:`refused` says."""
        import torch

        if (refused := self.refused()) is not None:
            raise refused
        torch.manual_seed(derive(seed, "model"))
        model = self.spec.build(self.task.classes(self.spec), device=device, weights=weights, seed=derive(seed, "head"))
        model.pintpot_kind = self.spec.kind  # type: ignore[assignment]
        torch.manual_seed(derive(seed, "method"))
        with torch.device(device):
            attached = self.method.attach(model, self.attached_config)
        attached.train()
        identity = self.identity()
        identity["config"] = {n: v for n, v in identity["config"].items() if n not in self.method.steers}
        attached.pintpot_case = content_key(identity)  # type: ignore[assignment]
        return attached

    def step(self, model: nn.Module) -> TrainingStep:
        """The training step over an attached model."""
        from workbench.parts.base import TrainingStep

        objective = self.task.error if self.config.objective == "error" else self.task.loss
        return TrainingStep(model, model.pintpot_parts, objective, self.config.lr)  # type: ignore[arg-type]

    def device_bytes(self, *, least: bool = False) -> int | None:
        """SRAM of a step of one example on a device that runs it without torch, of the ``least`` that the method can
        train if asked; ``None`` where there is no such plan."""
        if not self.method.least or self.refusal() is not None:
            return None
        case = replace(self, settings={**self.settings, **(self.method.least if least else {})})
        plan = case.method.device_plan(case.attached(device="meta", weights=False), case.spec, case.config, case.length)
        return None if plan is None else int(plan.sram)

    def example(self) -> list[Batch]:
        """Micro-batches with the shapes of real ones; needs no data."""
        batches = [self.task.example_batch(self.spec, self.batch, self.length) for _ in range(self.accumulate)]
        for batch in batches if self.padded else ():
            for i, mask in enumerate(batch["attention_mask"]):
                mask[max(1, mask.shape[0] >> (i + 1)) :] = 0
        return batches

    def tier(self, asked: Tier | None = None) -> Tier:
        """The tier of a prediction where ``asked`` leaves it open.

        Workspace is probed, except for models known by their shapes alone: their operators are too large to
        execute on the host that asks.
        """
        return asked or (Tier.FORMULA if self.spec.cost_only else Tier.PROBE)

    def predict(self, tier: Tier | None = None, *, fresh: bool = False) -> MemoryProfile:
        """Memory of one step, predicted without running it; cached by content. See :meth:`tier`."""
        from workbench.predictions import predicted

        profile = predicted(self, self.tier(tier), fresh=fresh)
        if self.attached_config.executor != "auto":
            return profile
        return replace(
            profile, assumptions=(*profile.assumptions, "executor auto, not raced yet: taken to be the graph")
        )
