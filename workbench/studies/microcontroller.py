"""The presets of the microcontroller page, and the benches its questions are asked of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.core.errors import UnknownName
from workbench.core.schedule import Schedule
from workbench.records.schema import RunRecord

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.lens.microcontroller import StepPlan
    from workbench.lens.update_order import Ordering
    from workbench.studies.contribution import Contributions
    from workbench.studies.tuned_arms import TunedArm

METHOD = "int8-training"
RATES = (0.005, 0.02, 0.08, 0.3)  #: the grid of steps on one example


@dataclass(frozen=True)
class LearnedArm:
    """One scheme on one task: its runs at the best rate of its own grid, and the SRAM that its planned step needs,
    bytes."""

    group: str
    label: str
    sram: int
    lr: float
    losses: Mapping[float, float | None]
    records: tuple[RunRecord, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(float(r.score["value"]) for r in self.records if r.score)


#: What trains: nothing but the head, a few tensors, or all of them. Numbers are convolutions, counted from the end.
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "head alone": {"biases": 0, "update": ""},
    "sparse": {"biases": 16, "update": "-1:1/2,-2:1,-4:1/2,-5:1,-7:1/2,-8:1/2"},
    "everything": {"biases": 500, "update": "all"},
}

_EVERYTHING, _SPARSE = SCHEMES["everything"], SCHEMES["sparse"]
_MASKED = {**_SPARSE, "gradients": "all"}

#: The paper's arms as settings, and the lazy variants beside what they are variants of.
ARMS: Mapping[str, Mapping[str, Any]] = {
    "float SGD": {**_EVERYTHING, "graph": "float"},
    "int8 SGD": {**_EVERYTHING, "qas": False},
    "int8 LARS": {**_EVERYTHING, "qas": False, "optimizer": "lars"},
    "int8 Adam": {**_EVERYTHING, "qas": False, "optimizer": "adamw"},
    "int8 QAS": _EVERYTHING,
    "lazy: fake int8 over a float copy": {**_EVERYTHING, "graph": "fake"},
    "int8 QAS, sparse": _SPARSE,
    "lazy: sparse by masking": _MASKED,
}
_DESCENT = (0.03, 0.1, 0.3)
GRIDS: Mapping[str, Sequence[float]] = {
    "float SGD": _DESCENT,
    "int8 SGD": (0.3, 1.0, 3.0),
    "int8 LARS": (0.1, 1.0, 5.0),
    "int8 Adam": (0.003, 0.03, 0.3),
    "int8 QAS": _DESCENT,
    "lazy: fake int8 over a float copy": _DESCENT,
    "int8 QAS, sparse": _DESCENT,
    "lazy: sparse by masking": _DESCENT,
}


@dataclass(frozen=True)
class Preset:
    """How much is run. The arms are compared on ``task`` and ``model``, which needs no factory; ``pictures`` are what
    the larger net learns after its factory has seen ``source`` (empty: a net that has seen nothing). Where schemes are
    chosen, ``validation`` of the ``train`` examples are set aside to choose by."""

    task: str
    model: str
    pictures: str
    source: str
    factory_epochs: float
    steps: int
    batch: int
    train: int
    validation: int
    test: int
    seeds: tuple[int, ...]
    rates: int  #: of each grid, from its middle outwards
    biases: tuple[int, ...]
    layers: tuple[int, ...]
    device_steps: int  #: steps of one example each, as a microcontroller takes them
    without: tuple[str, ...] = ()  #: arms that are left out


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        "digits", "mcu-net", "digits", "", 0, 4, 8, 200, 60, 60, (0,), 1, (4,), (-1,), 8, ("int8 LARS", "int8 Adam")
    ),
    "standard": Preset(
        "watch-exercises", "mcu-watch", "fashion-mnist", "digits", 4, 150, 16, 2000, 300, 600, (0, 1, 2), 5, (4, 8, 16),
        (-1, -2, -4, -5), 800,
    ),
    "full": Preset(
        "watch-exercises", "mcu-watch", "fashion-mnist", "digits", 20, 1000, 16, 2000, 300, 1000, (0, 1, 2, 3, 4), 5,
        (2, 4, 8, 12, 16, 20), (-1, -2, -4, -5, -7, -8, -10), 20_000,
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset called ``name``; raises ``UnknownName``."""
    if name not in PRESETS:
        raise UnknownName("profile", name, PRESETS)
    return PRESETS[name]


def grids(chosen: Preset) -> dict[str, tuple[float, ...]]:
    """The grids of the preset's arms: fewer rates where fewer are asked for."""
    return {label: fewer(chosen, GRIDS[label]) for label in arms(chosen)}


def arms(chosen: Preset) -> dict[str, Mapping[str, Any]]:
    """The arms of the preset as settings."""
    return {label: settings for label, settings in ARMS.items() if label not in chosen.without}


def fewer(chosen: Preset, grid: Sequence[float]) -> tuple[float, ...]:
    """As many rates of a grid as the preset tries, the middle one first."""
    return tuple(sorted(sorted(grid, key=lambda rate: abs(grid.index(rate) - 1))[: chosen.rates]))


def bench_for(chosen: Preset, device: str) -> Bench:
    """The bench on which arms and schemes are compared. Without a budget for this host: the emulation's workspace is
    not the microcontroller's, whose bytes are planned instead."""
    from workbench.bench import open as opened

    return opened(
        chosen.task, chosen.model, device, "64 GiB", batch=chosen.batch, train=chosen.train, test=chosen.test,
        steps=chosen.steps,
    )  # fmt: skip


def on_device(bench: Bench, steps: int) -> Bench:
    """The same bench with one example a step, as a microcontroller trains."""
    return replace(bench, batch=1, schedule=Schedule(steps=steps))


def pictures_bench(chosen: Preset, device: str) -> Bench:
    """The larger net as it leaves the factory, on pictures, one a step."""
    from workbench.bench import open as opened
    from workbench.studies.factory import factory_model

    name = "mcu-net"
    if chosen.source:
        school = opened(chosen.source, name, budget="64 GiB", batch=32, train=1000, test=300)
        name = factory_model(school, epochs=chosen.factory_epochs)
    return opened(
        chosen.pictures, name, device, "64 GiB", batch=1, train=chosen.train, test=chosen.test,
        steps=chosen.device_steps,
    )  # fmt: skip


def plans(benches: Mapping[str, Bench]) -> dict[str, StepPlan]:
    """The planned step on one example of every scheme on the model of every bench, by a label of both."""
    from workbench.lens.microcontroller import plan_step

    return {
        f"{name}, {label}": plan_step(bench.case(METHOD, **scheme))
        for name, bench in benches.items()
        for label, scheme in SCHEMES.items()
    }


def gains(
    bench: Bench, chosen: Preset, arms: Sequence[TunedArm], *, progress: Callable[[str], None] | None = None
) -> Contributions:
    """What each tensor of the preset's lists wins, at the rate of the sparse arm among ``arms``, over all seeds."""
    from workbench.studies.contribution import contributions

    (rate,) = (arm.lr for arm in arms if ARMS[arm.label] is _SPARSE)
    given = {"seeds": chosen.seeds, "validation": chosen.validation, "lr": rate}
    return contributions(bench, biases=chosen.biases, layers=chosen.layers, progress=progress, **given)


def learned(benches: Sequence[Bench], seeds: Sequence[int], rates: Sequence[float]) -> list[LearnedArm]:
    """The head alone and the sparse scheme, trained on every bench with every seed, each at the rate of its own lowest
    training loss; finished runs are kept."""
    from workbench.lens.microcontroller import plan_step
    from workbench.studies.tuned_arms import tuned_arms

    schemes = {label: SCHEMES[label] for label in ("head alone", "sparse")}
    found = []
    for bench in benches:
        sram = {label: plan_step(bench.case(METHOD, **scheme)).sram for label, scheme in schemes.items()}
        arms = tuned_arms(bench, METHOD, schemes, dict.fromkeys(schemes, tuple(rates)), seeds)
        found += [LearnedArm(bench.task, a.label, sram[a.label], a.lr, a.losses, a.records) for a in arms]
    return found


def both_orders(benches: Mapping[str, Bench]) -> dict[str, tuple[Ordering, Ordering]]:
    """Live bytes of planned steps with updates at their gradients and at the end, by bench and scheme."""
    from workbench.lens.microcontroller import plan_step
    from workbench.lens.update_order import EARLY, LATE, Ordering

    def order(label: str, plan: StepPlan) -> Ordering:
        phases = tuple("backward" if name.startswith("backward") else "forward" for name in plan.instructions)
        return Ordering(label, phases, plan.live, plan.gradients())

    found = {}
    for name, bench in benches.items():
        for label in ("sparse", "everything"):
            early, late = (plan_step(bench.case(METHOD, **SCHEMES[label], updates=u)) for u in ("early", "late"))
            found[f"{name}, {label}"] = order(EARLY, early), order(LATE, late)
    return found
