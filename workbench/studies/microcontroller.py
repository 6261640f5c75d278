"""The presets of the microcontroller page, and the benches its questions are asked of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.errors import UnknownName
from workbench.records.schema import RunRecord

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.lens.microcontroller import StepPlan
    from workbench.lens.update_order import Ordering

METHOD = "int8-training"


@dataclass(frozen=True)
class LearnedArm:
    """One scheme on one task: its runs, and the SRAM that its planned step needs, bytes."""

    group: str
    label: str
    sram: int
    records: tuple[RunRecord, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        return tuple(float(r.score["value"]) for r in self.records if r.score)


#: The scheme whose tensors all arms train: whole weights, so that the float graph can train the same ones.
SCHEME: Mapping[str, Any] = {"biases": 12, "update": "-1:1,-4:1,-7:1"}

#: The paper's arms as settings, and the lazy variants beside them.
ARMS: Mapping[str, Mapping[str, Any]] = {
    "float SGD": {"graph": "float"},
    "int8 SGD": {"qas": False},
    "int8 LARS": {"qas": False, "optimizer": "lars"},
    "int8 Adam": {"qas": False, "optimizer": "adamw"},
    "int8 QAS": {},
    "lazy: fake int8 over a float copy": {"graph": "fake"},
    "lazy: all gradients, masked": {"gradients": "all"},
}
_WIDE, _NARROW = (0.03, 0.1, 0.3), (0.1,)
GRIDS: Mapping[str, Sequence[float]] = {
    "float SGD": _WIDE,
    "int8 SGD": (0.1, 0.3, 1.0),
    "int8 LARS": (0.1, 1.0, 3.0),
    "int8 Adam": (0.003, 0.01, 0.03),
    "int8 QAS": _WIDE,
    "lazy: fake int8 over a float copy": _WIDE,
    "lazy: all gradients, masked": _NARROW,
}


@dataclass(frozen=True)
class Preset:
    """How much is run. ``source`` is what the factory trains on in float; empty for a net that knows nothing."""

    task: str
    source: str
    factory_epochs: float
    steps: int
    batch: int
    train: int
    test: int
    seeds: tuple[int, ...]
    rates: int  #: of each grid, from its middle outwards
    biases: tuple[int, ...]
    layers: tuple[int, ...]
    device_steps: int  #: steps of one example each, as a microcontroller takes them


PRESETS: Mapping[str, Preset] = {
    "quick": Preset("digits", "", 0, 12, 8, 200, 100, (0,), 1, (2, 6), (-1,), 60),
    "standard": Preset(
        "fashion-mnist", "digits", 12, 60, 16, 2000, 300, (0, 1, 2), 3, (4, 10), (-1, -4, -7, -10), 1500
    ),
    "full": Preset(
        "fashion-mnist", "digits", 24, 600, 16, 10_000, 2000, (0, 1, 2, 3, 4), 3, (4, 8, 12, 16, 22),
        (-1, -2, -4, -5, -7, -8, -10), 10_000,
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset called ``name``; raises ``UnknownName``."""
    if name not in PRESETS:
        raise UnknownName("profile", name, PRESETS)
    return PRESETS[name]


def grids(chosen: Preset) -> dict[str, tuple[float, ...]]:
    """The grids of the preset: fewer rates where fewer are asked for."""
    return {label: tuple(sorted(sorted(g, key=lambda r: abs(g.index(r) - 1))[: chosen.rates])) for label, g in
            GRIDS.items()}  # fmt: skip


def arms(optimizer_scheme: Mapping[str, Any] = SCHEME) -> dict[str, dict[str, Any]]:
    """Every arm over the same tensors."""
    return {label: {**optimizer_scheme, **settings} for label, settings in ARMS.items()}


def bench_for(chosen: Preset, device: str, model: str = "mcu-net") -> Bench:
    """The bench of the preset's task, over the net as it leaves the factory. Without a budget for this host: the
    emulation's workspace is not the microcontroller's, whose bytes are planned instead."""
    from workbench.bench import open as opened
    from workbench.studies.factory import factory_model

    name = model
    if chosen.source:
        school = opened(chosen.source, model, budget="64 GiB", batch=32, train=1000, test=300)
        name = factory_model(school, epochs=chosen.factory_epochs)
    return opened(
        chosen.task, name, device, "64 GiB", batch=chosen.batch, train=chosen.train, test=chosen.test,
        steps=chosen.steps,
    )  # fmt: skip


def on_device(bench: Bench, steps: int, **changes: Any) -> Bench:
    """The same bench with one example a step, as a microcontroller trains."""
    from dataclasses import replace

    from workbench.session import Schedule

    return replace(bench, batch=1, schedule=Schedule(steps=steps), **changes)


def watch_bench(chosen: Preset, device: str) -> Bench:
    """The smart-watch task on its own small net, one window a step."""
    from workbench.bench import open as opened

    return opened("watch-exercises", "mcu-watch", device, "64 GiB", batch=1, steps=chosen.device_steps)


def learned(
    benches: Sequence[Bench], schemes: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], lr: float
) -> list[LearnedArm]:
    """Every scheme trained on every bench with every seed; runs come from the store where they are there."""
    from workbench.lens.microcontroller import plan_step

    found = []
    for bench in benches:
        for label, scheme in schemes.items():
            records = tuple(bench.run(METHOD, seed, **{**scheme, "lr": lr}) for seed in seeds)
            found.append(LearnedArm(bench.task, label, plan_step(bench.case(METHOD, **scheme)).sram, records))
    return found


def both_orders(bench: Bench, schemes: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Ordering, Ordering]]:
    """Live bytes of the planned step with updates at their gradients and at the end, by scheme."""
    from workbench.lens.microcontroller import plan_step
    from workbench.lens.update_order import EARLY, LATE, Ordering

    def order(label: str, plan: StepPlan) -> Ordering:
        phases = tuple("backward" if name.startswith("backward") else "forward" for name in plan.instructions)
        return Ordering(label, phases, plan.live, plan.gradients())

    return {
        name: (
            order(EARLY, plan_step(bench.case(METHOD, **scheme, updates="early"))),
            order(LATE, plan_step(bench.case(METHOD, **scheme, updates="late"))),
        )
        for name, scheme in schemes.items()
    }
