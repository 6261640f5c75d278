"""Synthetic runs for tests of figures and reports. Not measurements: every number is made up here."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

from workbench.core.profile import Category, MemoryProfile, Moment, Phase, Tier
from workbench.records.schema import Quantity, RunRecord, State, StepRecord

MIB = 1024**2
LAYERS = ["embeddings", *(f"encoder.layer.{i}" for i in range(6)), "classifier"]
#: method: weights, gradients, optimizer, saved, workspace (MiB), accuracy, layers trained
PLAN = {
    "full": (87, 87, 174, 88, 12, 0.831, range(8)),
    "lora": (88, 3, 6, 71, 9, 0.822, range(1, 8)),
    "bias": (87, 0.4, 0.8, 54, 9, 0.812, range(8)),
    "head": (87, 0.1, 0.2, 1.2, 9, 0.762, [7]),
    "mezo": (87, 0, 0, 0, 22, 0.741, []),
}


def profile(method: str, tier: Tier, factor: float = 1.0, events: int = 240) -> MemoryProfile:
    weights, grads, optim, saved, work, _, _ = (PLAN[method][i] for i in range(7))
    moments: list[Moment] = []
    held: dict[tuple[str, Category], int] = {}
    third = events // 3
    for i in range(events):
        phase = (Phase.FORWARD, Phase.BACKWARD, Phase.UPDATE)[min(2, i // third)]
        t = (i % third) / third
        forward = phase is Phase.FORWARD
        live = {
            Category.WEIGHTS: weights,
            Category.GRADIENTS: 0 if forward else grads * (t if phase is Phase.BACKWARD else 1),
            Category.OPTIMIZER: optim,
            Category.SAVED: saved * (t if forward else (1 - t) if phase is Phase.BACKWARD else 0),
            Category.WORKSPACE: work * (0.4 + 0.6 * abs(math.sin(i * 0.9))) * (0.3 if phase is Phase.UPDATE else 1),
            Category.INPUTS: 0.3,
        }
        layer = LAYERS[min(7, int(t * 8)) if forward else 7 - min(7, int(t * 8))]
        sizes = {c: round(v * MIB * factor) for c, v in live.items()}
        now = held_by(sizes, layer, forward, t)
        changed = tuple((*k, now.get(k, 0)) for k in sorted({*now, *held}) if now.get(k, 0) != held.get(k, 0))
        moments.append(Moment(i, phase, f"aten.{('mm', 'gelu', 'add')[i % 3]}.default", layer, sizes, changed))
        held = now
    top = max(moments, key=lambda m: m.total)
    share = {name: saved * MIB / 8 * (1.6 if "embed" in name else 0.9) for name in LAYERS}
    return MemoryProfile(
        tier, top.total, top.phase, top.operator, top.module, top.live,
        by_phase={top.phase: top.live},
        by_module=dict.fromkeys(LAYERS, top.total // 8),
        saved_by_module={f"{k}.dense": round(v) for k, v in share.items()} if saved else {},
        timeline=tuple(moments),
    )  # fmt: skip


def held_by(sizes, layer: str, forward: bool, t: float) -> dict[tuple[str, Category], int]:
    """What is saved lies in the layers already passed, workspace in the one at work, the rest evenly."""
    deep = max(1, math.ceil(len(LAYERS) * (t if forward else 1 - t)))
    owners = {Category.SAVED: LAYERS[:deep], Category.WORKSPACE: [layer], Category.INPUTS: ["(batch)"]}
    held = {}
    for category, size in sizes.items():
        names = owners.get(category, LAYERS)
        held |= {(n, category): size // len(names) + (n == names[0]) * (size % len(names)) for n in names}
    return held


def run(method: str, seed: int, state: State = State.DONE, **changes) -> RunRecord:
    noise = random.Random(f"{method}{seed}")
    accuracy, trained = PLAN[method][5], PLAN[method][6]
    steps = tuple(
        StepRecord(
            s,
            0.25 + 0.45 * math.exp(-s / (30 if method != "mezo" else 400)) + noise.gauss(0, 0.02),
            0.12,
            None,
            layer_norms={
                LAYERS[i]: 10 ** (-2 + 0.2 * i + noise.gauss(0, 0.1) - s / 200) for i in trained if s % 4 == 0
            },
        )
        for s in range(150)
    )
    done = state is State.DONE
    base = dict(  # noqa: C408
        id=f"synthetic-{method}-{seed}", task="synthetic-task", model="synthetic-model", method=method, seed=seed,
        state=state, family={"full": "reference", "mezo": "zeroth-order", "lora": "adapter"}.get(method, "selection"),
        config={"lr": 1e-3, "rank": 8} if method == "lora" else {"lr": 1e-3}, budget=256 * MIB, batch=8, length=40,
        device="synthetic-device", planned_steps=150, steps=steps if state is not State.REFUSED else (),
        predicted=profile(method, Tier.PROBE, 1.0 + 0.004 * noise.random()),
        measured=profile(method, Tier.MEASURED) if done or state is State.CANCELLED else None,
        step_time=Quantity(0.12, "measured"), device_step_time=Quantity(1.4, "assumed"),
        device_step_energy=Quantity(4.2, "assumed"), trainable=1234 * (len(list(trained)) + 1), parameters=22_700_000,
        adapter_bytes=4 * 1234 * (len(list(trained)) + 1), seconds=20.0,
        score={"name": "accuracy", "value": accuracy + noise.gauss(0, 0.006), "count": 600} if done else {},
    )  # fmt: skip
    return RunRecord(**{**base, **changes})


def comparison() -> list[RunRecord]:
    """Four methods that ran with three seeds and full tuning refused for memory."""
    runs = [run(m, s) for m in ("lora", "bias", "head", "mezo") for s in range(3)]
    runs += [
        run("full", s, State.REFUSED, reason="predicted peak is above the budget", measured=None) for s in range(3)
    ]
    return runs


def saved_map(layers: int = 6, bench: Any = None):
    """A map of two ways, two of recomputing, two of packing; the last way cannot be packed."""
    import workbench as wb
    from workbench.lens.saved_map import KINDS, Kept, SavedMap

    levers = (("recompute", (0, 1)), ("saved", ("as-is", "int8")))
    states = []
    for way, recompute, saved in itertools.product(range(3), range(2), range(2)):
        if way == 2 and saved:
            states.append(Kept((way, recompute, saved), {}, {}, {}, 0, "no <b>packing</b> here"))
            continue
        size = MIB // (1 + 7 * recompute) // (1 + 3 * saved)
        trained = range(layers - 1, layers) if way == 2 else range(layers)
        kept = {(f"encoder.layer.{i}.dense", k): size * (n + 1) for i in trained for n, k in enumerate([*KINDS][:3])}
        gradients = {f"encoder.layer.{i}.dense": MIB // (1 + 9 * way) for i in trained}
        beside = {"weights": 3 * MIB, "gradients": sum(gradients.values()), "optimizer state": MIB}
        states.append(Kept((way, recompute, saved), kept, gradients, beside, 10**9 * (3 + recompute)))
    ways = ("full", "bias", "last-blocks blocks=1")
    bench = bench or wb.open("tokens", "tiny-bert", batch=4, budget="64MiB")
    return SavedMap(bench, ways, levers, tuple(states), {"recompute": 0, "saved": "as-is"})


def budget_search(bench: Any = None, unit: str = "bytes"):
    """Two searches over four parts at three budgets; no method takes the first choice by name."""
    import workbench as wb
    from workbench.studies.budget_search import BudgetSearch, Part, Pick

    parts = tuple(Part(f"layer.{i} weight", (i + 1) / 10, MIB * (4 - i)) for i in range(4))
    chosen = ((False,) * 4, (False, False, True, True), (True,) * 4)
    ways = ("", "sparse-update executor=graph tensors=a.weight,b.weight", "sparse-update executor=graph tensors=a.bias")
    picks = tuple(
        Pick((1 + 3 * i) * MIB, c, 3 * i * MIB, w, w * 0.9, w / 2, way)
        for i, (c, w, way) in enumerate(zip(chosen, (0.0, 0.7, 1.0), ways))
    )
    bytes_of = BudgetSearch("bytes kept", "bytes", "gradients", parts, picks, 7 * MIB)
    operations = BudgetSearch("operations", "FLOP", "fall of the loss", parts, picks, 7 * MIB)
    return bench or wb.open("tokens", "tiny-bert", batch=4, budget="64MiB"), [bytes_of, operations]
