"""The workbench itself: one task, model, device and budget, and every question one asks about them."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench.ablate import Cell, Progress, combinations, sweep
from workbench.case import Case
from workbench.core.errors import BadInput, Incompatible
from workbench.core.units import format_exactly, parse_size
from workbench.plan.fit_table import FitTable, fit, fit_table
from workbench.plan.verdict import Verdict, cases_for
from workbench.plan.ways import PATIENCE, Change, Patience, ways_out
from workbench.profiles import RunProfile, profile
from workbench.records.schema import RunRecord
from workbench.records.store import RunStore
from workbench.request import Request, asked
from workbench.session import Schedule
from workbench.tasks.base import Sizes

if TYPE_CHECKING:
    from workbench.devices.model import Device

Observer = Callable[[Progress], None]


@dataclass(frozen=True)
class Bench:
    """Names are checked when the bench is opened. ``budget`` is bytes."""

    task: str
    model: str
    device: Device
    budget: int
    batch: int
    length: int | None = None
    schedule: Schedule = field(default_factory=Schedule)
    sizes: Sizes = field(default_factory=Sizes)
    profile: RunProfile = field(default_factory=lambda: profile("standard"))
    store: RunStore = field(default_factory=RunStore)

    def case(self, method: str, **settings: Any) -> Case:
        """The bench's case for one method; the profile's settings for its own task and model, then the given ones."""
        own = self.task == self.profile.task and self.model == self.profile.model
        known = self.profile.settings.get(method, {}) if own else {}
        return Case(self.task, self.model, method, self.batch, self.length, settings={**known, **settings})

    def fit(self, methods: Sequence[str] = (), *, progress: Callable[[str], None] | None = None) -> list[Verdict]:
        """Every method (or the named ones): fits, fits if, cannot, does not apply; nothing is trained."""
        return fit(self._cases(methods), self.device, self.budget, progress=progress)

    def fit_table(self, methods: Sequence[str] = (), *, progress: Callable[[str], None] | None = None) -> FitTable:
        """What :meth:`fit` answers from: a table that answers any budget, batch and length at once."""
        return fit_table(self._cases(methods), self.device, progress=progress)

    def _cases(self, methods: Sequence[str]) -> list[Case]:
        return cases_for(self.task, self.model, methods, batch=self.batch, length=self.length)

    def run(
        self,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        observe: Observer | None = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> RunRecord:
        """Train one method under the budget; the record is stored, and taken from the store when it is there.

        ``arena`` serves repeated steps from one planned block of memory: the same result, a smaller process. With
        ``checkpoint_every`` steps (0: never) the same call after a stop, whatever stopped it, goes on to the same bits.
        """
        case = self.case(method, **settings)
        reason = case.refusal()
        if reason is not None:
            raise Incompatible("method", method, reason)
        cell = self.cell(case, seed, shape={"accumulate": accumulate})
        cell = replace(cell, arena=arena, checkpoint_every=_interval(checkpoint_every))
        return next(iter(sweep([cell], store=self.store, observe=observe, cancel=cancel)))

    def ways_out(self, method: str, *, accumulate: int = 1, **settings: Any) -> list[Change]:
        """Changes that make one method fit the budget, each verified by a prediction; empty where none was found."""
        case = replace(self.case(method, **settings), accumulate=accumulate)
        return list(ways_out(case, self.budget, patience=Patience(PATIENCE)))

    def ablate(
        self,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        observe: Observer | None = None,
        cancel: threading.Event | None = None,
        reference: Iterable[str] = (),
        checkpoint_every: int = 0,
        workers: int = 1,
        **more: Sequence[Any],
    ) -> list[RunRecord]:
        """Run what is missing of the grid over ``method``, ``seed``, ``batch``, ``length`` or any setting.

        More than one of ``workers`` are processes of their own; whoever runs the same grid in the same store shares it.

        Methods in ``reference`` are run without the budget when they do not fit it, so that one sees what the
        budget costs; their records say so by having none.
        """
        axes = {**(axes or {}), **more}
        every = _interval(checkpoint_every)
        cells = [
            replace(
                self.cell(self.case(method, **settings), seed, method in set(reference), shape), checkpoint_every=every
            )
            for method, seed, shape, settings in combinations(axes)
        ]
        if workers != 1:
            from workbench.workers.crew import sweep_with

            return sweep_with(workers, cells, store=self.store, observe=observe, cancel=cancel)
        return list(sweep(cells, store=self.store, observe=observe, cancel=cancel))

    def compare(
        self,
        methods: Sequence[str] = (),
        seeds: Sequence[int] = (),
        *,
        observe: Observer | None = None,
        cancel: threading.Event | None = None,
    ) -> list[RunRecord]:
        """Every method with every seed; empty takes the profile's. Full tuning is the reference and runs unlimited
        when it does not fit, so that the cost of the budget shows."""
        chosen = self.methods(methods)
        seeds = list(seeds) or list(self.profile.seeds)
        return self.ablate({"method": chosen, "seed": seeds}, observe=observe, cancel=cancel, reference=("full",))

    def methods(self, given: Sequence[str] = ()) -> list[str]:
        """The named methods, else the profile's, else all that declare they can serve the model. Names are checked."""
        from workbench.methods.base import methods as registry
        from workbench.models import resolve

        for name in given:
            registry.get(name)
        chosen = list(given) or list(self.profile.methods)
        spec = resolve(self.model)
        return chosen or [m.name for m in registry if m.applies_to(spec) is None]

    def parameters(self, methods: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
        """Every parameter of a comparison with its resolved value."""
        return {
            "profile": self.profile.name,
            "task": self.task,
            "model": self.model,
            "device": self.device.name,
            "budget": format_exactly(self.budget),
            "methods": list(methods),
            "seeds": list(seeds),
            "batch": self.batch,
            "train": self.sizes.train or 0,
            "test": self.sizes.test or 0,
            "epochs": self.schedule.epochs,
        }

    def command(self, methods: Sequence[str], seeds: Sequence[int]) -> str:
        """The command that makes this comparison again, quoted for a shell."""
        words = ["pintpot", "report", "compare-methods"]
        for name, value in self.parameters(methods, seeds).items():
            words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join(words)

    def run_command(
        self,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        **settings: Any,
    ) -> str:
        """The command that makes one run again; it finds the stored one. Empty for a number of steps, which the
        command line does not take."""
        if self.schedule.steps is not None:
            return ""
        words = ["pintpot", "run", "--method", method, "--seed", str(seed)]
        for name, value in self._opened().items():
            words += [f"--{name}", str(value)]
        words += ["--accumulate", str(accumulate)] if accumulate > 1 else []
        words += ["--arena"] if arena else []
        words += ["--checkpoint-every", str(checkpoint_every)] if checkpoint_every else []
        for name, value in settings.items():
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return shlex.join(words)

    def run_python(
        self,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        **settings: Any,
    ) -> str:
        """The same run in Python."""
        plain = {"accumulate": 1, "arena": False, "checkpoint_every": 0}
        chosen = {"accumulate": accumulate, "arena": arena, "checkpoint_every": checkpoint_every}
        settings = {**{name: value for name, value in chosen.items() if value != plain[name]}, **settings}
        opened = {**self._opened(), **({"steps": self.schedule.steps} if self.schedule.steps is not None else {})}
        given = "".join(f", {name}={value!r}" for name, value in settings.items())
        arguments = ", ".join(f"{name}={value!r}" for name, value in opened.items())
        return (
            f"import workbench as wb\n\nbench = wb.open({arguments})\nrecord = bench.run({method!r}, {seed}{given})\n"
        )

    def _opened(self) -> dict[str, Any]:
        """What :func:`open` is given to make this bench."""
        values = {
            "task": self.task,
            "model": self.model,
            "device": self.device.name,
            "budget": format_exactly(self.budget),
            "batch": self.batch,
            "length": self.length,
            "profile": self.profile.name,
            "train": self.sizes.train,
            "test": self.sizes.test,
            "epochs": self.schedule.epochs,
        }
        return {name: value for name, value in values.items() if value is not None}

    def cell(self, case: Case, seed: int, reference: bool = False, shape: Mapping[str, int] | None = None) -> Cell:
        """One run of this bench as a point of a grid; a ``reference`` that does not fit runs without the budget."""
        case = replace(case, **(shape or {}))
        budget: int | None = self.budget
        if reference and case.refusal() is None and case.predict().peak > self.budget:
            budget = None
        return Cell(case, seed, budget, self.schedule, self.sizes, self.device.name, self.profile.name)


def open(
    task: str = "",
    model: str = "",
    device: str = "this-host",
    budget: str | int = "",
    *,
    batch: int | None = None,
    length: int | None = None,
    profile: str = "standard",
    train: int | None = None,
    test: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
) -> Bench:
    """A bench; whatever is left empty comes from the profile, and for another task than the profile's from the task.

    Without a budget it is the profile's, or what the device has free where that is less.

    ``train`` and ``test`` are numbers of examples, ``epochs`` passes over the training examples (``steps``
    overrides them). Every name and value is checked here.
    """
    from workbench.devices.model import get
    from workbench.models import resolve
    from workbench.profiles import profile as named
    from workbench.tasks.base import tasks

    asked({
        "task": task, "model": model, "device": device, "budget": budget, "profile": profile, "batch": batch,
        "length": length, "train": train, "test": test, "epochs": epochs, "steps": steps,
    })  # fmt: skip
    chosen = named(profile)
    own_task = not task or task == chosen.task
    task_class = tasks.get(task or chosen.task)
    model = model or (chosen.model if own_task else task_class.default_model)
    task_class().check(resolve(model))
    found = get(device)
    limit = parse_size(budget) if budget != "" else min(parse_size(chosen.budget), found.budget)
    sizes = Sizes(train or (chosen.train if own_task else None), test or (chosen.test if own_task else None), length)
    size = batch if batch is not None else (chosen.batch if own_task else task_class.default_batch)
    bench = Bench(
        task_class.name,
        model,
        found,
        limit,
        size,
        length,
        Schedule(_whole(epochs or chosen.epochs), steps),
        sizes,
        chosen,
        RunStore(),
    )
    bench.case("full")
    return bench


def _interval(steps: Any) -> int:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise BadInput("checkpoint_every", steps, "a whole number of steps, 0 for none")
    return steps


def _whole(epochs: float) -> float:
    """4.0 as 4: the key of a run is made of the text, and the command line knows only real numbers."""
    return int(epochs) if float(epochs).is_integer() else epochs


def check(values: Mapping[str, Any]) -> None:
    """Refuse the parameters of a comparison that cannot mean anything, before a kernel is started for them."""
    names = [n for n in Request.model_fields if n in values]
    # In a notebook's parameters an empty text, an empty list and 0 stand for "the profile's own".
    given = {n: values[n] for n in names if values[n] is not None and values[n] not in ("", 0, [])}
    request = asked(given)
    open(**{n: v for n, v in given.items() if n not in ("methods", "seeds")}).methods(request.methods)
