"""The workbench itself: one task, model, device and budget, and every question one asks about them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workbench.ablate import Cell, Progress, combinations, sweep
from workbench.case import Case
from workbench.core.errors import BadInput, UnknownName
from workbench.core.schedule import Schedule
from workbench.core.units import parse_size
from workbench.plan.change import Change
from workbench.plan.fit_table import FitTable, Verdicts, fit, fit_table
from workbench.plan.planned import Plan
from workbench.plan.planner import default_grid, gained_per_example, plan
from workbench.plan.refusal import SECONDS, with_ways
from workbench.plan.verdict import cases_for
from workbench.plan.ways import Patience, ways_out
from workbench.profiles import RunProfile, profile
from workbench.records.grid import GridPoint
from workbench.records.schema import RunRecord, State
from workbench.records.store import RunStore
from workbench.reproduce import Reproducible
from workbench.request import Request, asked, axes_checked
from workbench.tasks.base import Sizes

if TYPE_CHECKING:
    from workbench.devices.model import Device

Observer = Callable[[Progress], None]


@dataclass(frozen=True)
class Bench(Reproducible):
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
    held_out: str = ""
    """Another task that every tuned model is asked about, to see what tuning forgot; empty: none."""

    def case(self, method: str, **settings: Any) -> Case:
        """The bench's case for one method; the profile's settings for its own task and model, then the given ones."""
        own = self.task == self.profile.task and self.model == self.profile.model
        known = self.profile.settings.get(method, {}) if own else {}
        return Case(self.task, self.model, method, self.batch, self.length, settings={**known, **settings})

    def fit(
        self,
        methods: Sequence[str] = (),
        *,
        step_times: bool = False,
        patience: float | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Verdicts:
        """Every method (or the named ones): fits, fits if, cannot, does not apply; nothing is trained.

        ``step_times``: on a calibrated host, times of operators and no roofline. ``patience``: seconds of the search.
        """
        cases = self._cases(methods)
        return fit(cases, self.device, self.budget, step_times=step_times, patience=patience, progress=progress)

    def fit_table(self, methods: Sequence[str] = (), *, progress: Callable[[str], None] | None = None) -> FitTable:
        """What :meth:`fit` answers from: a table that answers any budget, batch and length at once."""
        return fit_table(self._cases(methods), self.device, progress=progress)

    def validating(self, examples: int) -> Bench:
        """The same bench, scored on training examples (of whole groups) set aside: the test set stays unseen."""
        return replace(self, sizes=replace(self.sizes, validation=examples))

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
        cosines: int = 0,
        observe: Observer | None = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> RunRecord:
        """Train one method under the budget; the record is stored, and taken from the store when it is there.

        ``arena`` serves repeated steps from one planned block of memory: the same result, a smaller process. With
        ``checkpoint_every`` steps (0: never) the same call after a stop, whatever stopped it, goes on to the same bits.
        At about ``cosines`` steps an estimated gradient is compared with the true one, beside the budget.
        A run that its budget refused says so in its state, its reason and its ways out.
        """
        case = self.case(method, **settings)
        if (refused := case.refused()) is not None:
            raise refused
        cell = self.cell(case, seed, shape={"accumulate": accumulate})
        every, looks = _count("checkpoint_every", checkpoint_every), _count("cosines", cosines)
        cell = replace(cell, arena=arena, checkpoint_every=every, cosines=looks)
        record = next(iter(sweep([cell], store=self.store, observe=observe, cancel=cancel)))
        if record.state is State.REFUSED and record.predicted is not None and record.ways is None:
            # Refused in a sweep, which does not look for ways out of every cell.
            record = with_ways(record, cell.case, cancel=cancel)
            self.store.put(cell.key(), record)
        return record

    def plan(
        self,
        method: str = "full",
        *,
        approximate: bool = False,
        vary: Mapping[str, Sequence[Any]] | None = None,
        by: str = "speed",
        observe: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Plan:
        """The fastest way to train a method within the budget: batch, accumulation, levers, settings in ``vary``.

        ``by`` is ``speed``, examples per second, or ``quality``: what runs of the store gained per second. Raises
        ``BudgetExceeded`` with ways out when nothing fits.
        """
        if by not in ("speed", "quality"):
            raise UnknownName("by", by, ["speed", "quality"])
        case = self.case(method, **settings)
        records = list(self.store.records()) if by == "quality" else []
        if by == "quality" and not gained_per_example(records, case):
            raise BadInput("by", by, f"speed, as no finished run on {self.task} and {self.model} is stored")
        grid = default_grid(case, approximate=approximate, vary=vary)
        return plan(case, self.device, self.budget, grid=grid, records=records, observe=observe, cancel=cancel)

    def ways_out(self, method: str, *, accumulate: int = 1, **settings: Any) -> list[Change]:
        """Changes that make one method fit the budget, each verified by a prediction; empty where none was found."""
        case = replace(self.case(method, **settings), accumulate=accumulate)
        return list(ways_out(case, self.budget, patience=Patience(SECONDS)))

    def ablate(
        self,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        observe: Observer | None = None,
        cancel: threading.Event | None = None,
        reference: Iterable[str] = (),
        checkpoint_every: int = 0,
        cosines: int = 0,
        workers: int = 1,
        **more: Sequence[Any],
    ) -> list[RunRecord]:
        """Run what is missing of the grid over ``method``, ``seed``, ``batch``, ``length`` or any setting.

        More than one of ``workers`` are processes of their own; whoever runs the same grid in the same store shares it.

        Methods in ``reference`` are run without the budget when they do not fit it, so that one sees what the
        budget costs; their records say so by having none.
        """
        every, looks = _count("checkpoint_every", checkpoint_every), _count("cosines", cosines)
        axes = {**(axes or {}), **more}
        self._check(axes)
        cells = [
            replace(
                self.cell(self.case(method, **settings), seed, method in set(reference), shape),
                checkpoint_every=every,
                cosines=looks,
            )
            for method, seed, shape, settings in combinations(axes)
        ]
        if workers != 1:
            from workbench.workers.crew import sweep_with

            return sweep_with(workers, cells, store=self.store, observe=observe, cancel=cancel)
        return list(sweep(cells, store=self.store, observe=observe, cancel=cancel))

    def grid(
        self, axes: Mapping[str, Sequence[Any]] | None = None, *, reference: Iterable[str] = (), **more: Sequence[Any]
    ) -> list[GridPoint]:
        """The grid of :meth:`ablate` as it stands in the store, missing runs included; nothing is run."""
        axes, unlimited = {**(axes or {}), **more}, set(reference)
        self._check(axes)
        points = []
        for method, seed, shape, settings in combinations(axes):
            cell = self.cell(self.case(method, **settings), seed, method in unlimited, shape)
            chosen = {"method": method, **shape, **settings}
            at = {name: chosen[name] for name in axes if name != "seed"} or {"method": method}
            points.append(GridPoint(at, seed, self.store.of_key(cell.key())))
        return points

    def _check(self, axes: Mapping[str, Sequence[Any]]) -> None:
        """Refuse what no cell of a grid could run, before the first of them does."""
        axes_checked(axes)
        most, times = self.sizes.train, max(axes.get("accumulate", [1]))
        for size in axes.get("batch", [self.batch] if times > 1 else []):
            if most is not None and size * times > most:
                raise BadInput("batch", size * times, f"at most the {most} training examples per step")

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

    def cell(self, case: Case, seed: int, reference: bool = False, shape: Mapping[str, int] | None = None) -> Cell:
        """One run of this bench as a point of a grid; a ``reference`` that does not fit runs without the budget."""
        case = replace(case, **(shape or {}))
        budget: int | None = self.budget
        if reference and case.refusal() is None and case.predict().peak > self.budget:
            budget = None
        shared = self.schedule, self.sizes, self.device.name, self.profile.name
        return Cell(case, seed, budget, *shared, held_out=self.held_out)


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
    held_out: str = "",
) -> Bench:
    """A bench; whatever is left empty comes from the profile, and for another task than the profile's from the task.

    Without a budget it is the profile's, or what the device has free where that is less.

    ``train`` and ``test`` are numbers of examples, ``epochs`` passes over the training examples (``steps``
    overrides them). ``held_out`` names another task that tuned models are asked about. Every name and value is checked
    here.
    """
    from workbench.devices.model import get
    from workbench.models import resolve
    from workbench.profiles import profile as named
    from workbench.tasks.base import tasks

    asked({
        "task": task, "model": model, "device": device, "budget": budget, "profile": profile, "batch": batch,
        "length": length, "train": train, "test": test, "epochs": epochs, "steps": steps, "held_out": held_out,
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
        held_out,
    )
    case = bench.case("full")
    if held_out:
        from workbench.probes.held_out import check as check_held_out

        check_held_out(held_out, case)
    return bench


def _count(name: str, steps: Any) -> int:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        raise BadInput(name, steps, "a whole number of steps, 0 for none")
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
