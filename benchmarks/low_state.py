"""Optimizers with little state side by side in one run: loss at equal steps, bytes, peak, step time; writes a page.

    OMP_NUM_THREADS=1 python benchmarks/low_state.py [--only BENCH] [--part PART] [--fresh] [--page]

Parts are ``bytes``, ``time``, ``loss`` and ``angles``; what is stored is not run again unless ``--fresh``. galore-torch
and apollo-torch are peers, run where they are installed (``pip install --no-deps``) and skipped by name elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import low_state_page as report
import torch
from torch import nn

from workbench.case import Case
from workbench.core.errors import PintpotError
from workbench.core.profile import Category
from workbench.core.schedule import Schedule
from workbench.core.seeds import derive
from workbench.environment import environment, now
from workbench.memory.measure import measure
from workbench.memory.predict import predict
from workbench.memory.step import storages_of
from workbench.nn.gradient_subspace import captured, decomposed, largest_angle, order_in_memory, tall
from workbench.parts.base import TrainingStep
from workbench.parts.optimizer import named
from workbench.parts.optimizer.galore import GaLore
from workbench.parts.optimizer.natural_galore import NaturalGaLore
from workbench.session import Session
from workbench.tasks.base import Sizes

RESULTS = Path(__file__).resolve().parent / "results" / "low_state.json"
RANK, INTERVAL, SCALE = 16, 10, 4.0
SEEDS = (0, 1, 2)
TUNING_SEED = 100
NEVER = 10**6


class Bench(NamedTuple):
    """A real task, a model, what is trained of it, the shape of a batch, and steps for tuning and training."""

    task: str
    model: str
    method: str
    batch: int
    length: int | None
    tuning: int
    steps: int
    angles: bool = False
    repeats: int = 5

    @property
    def name(self) -> str:
        return f"{self.model} {self.method}"

    @property
    def case(self) -> Case:
        return Case(self.task, self.model, self.method, self.batch, self.length)


BENCHES = (
    Bench("movie-sentiment", "minilm", "full", 8, None, 24, 32, angles=True),
    Bench("python-code", "smollm2", "last-blocks", 2, 64, 8, 16, repeats=2),
)


@dataclass(frozen=True)
class Peer:
    """A library's optimizer as an update rule; projects the same tensors as ours, for a like comparison."""

    module: str
    name: str
    interval: int
    more: tuple[tuple[str, Any], ...] = ()

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            rule = getattr(importlib.import_module(self.module), self.name)
        low = [p for p in parameters if p.ndim == 2 and min(p.shape) > RANK]
        other = [p for p in parameters if not any(p is q for q in low)]
        settings = {
            "rank": RANK,
            "update_proj_gap": self.interval,
            "scale": SCALE,
            "proj_type": "std",
            **dict(self.more),
        }
        groups = [{"params": other}, {"params": low, **settings}]
        made: torch.optim.Optimizer = rule([g for g in groups if g["params"]], lr=lr, no_deprecation_warning=True)
        return made


class Arm(NamedTuple):
    """``rule(interval)`` makes the update rule; ``rates`` are tried on another seed unless ``like`` names an arm."""

    rule: Callable[[int], Any]
    rates: tuple[float, ...] = ()
    like: str = ""
    interval: int = INTERVAL
    package: str = ""


ADAM_RATES = (1e-4, 3e-4)
APOLLO = (("proj", "random"), ("scale_type", "channel"))
ARMS = {
    "AdamW": Arm(lambda _: named("adamw"), ADAM_RATES),
    "GaLore": Arm(lambda t: GaLore(RANK, t, SCALE), ADAM_RATES),
    "Natural GaLore": Arm(lambda t: NaturalGaLore(RANK, t, SCALE), ADAM_RATES),
    "GaLore, SVD each interval": Arm(lambda t: GaLore(RANK, t, SCALE, refresh="svd"), like="GaLore"),
    "SGD": Arm(lambda _: named("sgd"), (1e-2, 5e-2)),
    "momentum": Arm(lambda _: named("momentum"), (2e-3, 1e-2)),
    "AdamW, 8-bit state": Arm(lambda _: named("adamw8bit"), like="AdamW"),
    "GaLore, 8-bit inside": Arm(lambda t: GaLore(RANK, t, SCALE, "adamw8bit"), like="GaLore"),
    "galore-torch": Arm(lambda t: Peer("galore_torch", "GaLoreAdamW", t), like="GaLore", package="galore_torch"),
    "apollo-torch": Arm(
        lambda t: Peer("apollo_torch", "APOLLOAdamW", t, APOLLO), like="GaLore", package="apollo_torch"
    ),
    "GaLore, SVD every step": Arm(lambda _: GaLore(RANK, 1, SCALE, refresh="svd"), like="GaLore", interval=1),
}


def step_of(case: Case, model: nn.Module, rule: Any, lr: float = 1e-4) -> TrainingStep:
    return TrainingStep(model, replace(model.pintpot_parts, optimizer=rule), case.task.loss, lr)  # type: ignore[type-var]


def reachable(value: Any, seen: dict[int, Any]) -> None:
    """Every tensor an optimizer's state leads to, also inside a library's own objects."""
    if isinstance(value, torch.Tensor):
        seen |= {s._cdata: s for s in storages_of(value)}
    elif isinstance(value, dict):
        for item in value.values():
            reachable(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            reachable(item, seen)
    elif type(value).__name__.endswith("Projector"):
        reachable(vars(value), seen)


def state_bytes(step: TrainingStep) -> int:
    """Measured bytes of the storages that the optimizer keeps alive between steps, each once."""
    seen: dict[int, Any] = {}
    reachable([step.optimizer_state(), *(list(o.state.values()) for o in step.optimizers)], seen)
    for tensor in step.optimizer_state():
        reachable(tensor, seen)
    return sum(s.nbytes() for s in seen.values())


def bytes_of(bench: Bench, arm: Arm) -> dict[str, Any]:
    """Peak and optimizer state, predicted on fake tensors and measured; a peer that fake tensors cannot run says so."""
    case, rule = bench.case, arm.rule(arm.interval)
    step = step_of(case, case.attached(), rule)
    measured = measure(step, case.example())
    row: dict[str, Any] = {"peak": measured.peak, "state": state_bytes(step)}
    try:
        found = predict(
            lambda: case.attached(device="meta", weights=False), lambda m: step_of(case, m, rule), case.example
        )
        row["predicted_peak"] = found.peak
        if not arm.package:  # a peer's projector hides tensors from whoever reads the optimizer's state
            row["predicted_state"] = found.by_category.get(Category.OPTIMIZER, 0)
    except (PintpotError, RuntimeError, NotImplementedError) as error:
        row["not_predicted"] = str(error).splitlines()[0][:160]
    return row


def times(bench: Bench, arms: dict[str, Arm], repeats: int) -> dict[str, dict[str, float]]:
    """CPU seconds of an ordinary and of a refreshing step of every arm, all taken in turns: the fastest of each."""
    case, batch = bench.case, bench.case.example()
    steps = {}
    for name, arm in arms.items():
        kinds = {"ordinary": NEVER} if arm.interval == INTERVAL else {}
        kinds |= {"refreshing": 1} if any(w in name.lower() for w in ("galore", "apollo")) else {}
        for kind, interval in kinds.items():
            steps[name, kind] = step_of(case, case.attached(), arm.rule(interval), lr=0.0)
    for step in steps.values():
        for _ in range(3):  # the opening, in which every step refreshes
            step(batch)
    best: dict[tuple[str, str], float] = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for key, step in steps.items():
            started = time.process_time()
            step(batch)
            best[key] = min(best[key], time.process_time() - started)
    first = {"first": best[report.FIRST, "ordinary"]}  # of the same run: what the ratios are to
    return {name: {k: s for (n, k), s in best.items() if n == name} | first for name in arms}


def losses(bench: Bench, rule: Any, lr: float, seed: int, steps: int) -> list[float]:
    """Training loss of each step of a session with this rule; the seed fixes the order of the data for every arm."""
    session = Session(bench.case, seed, schedule=Schedule(steps=steps), sizes=Sizes(steps * bench.batch, bench.batch))
    session.prepare()
    step, found = step_of(session.case, session.model, rule, lr), []
    stream = session.case.task.batches(session.data, session.case.spec, bench.batch, derive(seed, "batches"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "noise"))
        for index in range(steps):
            step.set_lr(lr * session.schedule.factor(index, steps))
            found.append(float(step(next(stream), seed=derive(seed, "step", index))))
    return found


def late(found: list[float]) -> float:
    """Mean over the last third: what is compared at equal steps."""
    tail = found[-max(1, len(found) // 3) :]
    return sum(tail) / len(tail)


def angles(bench: Bench, lr: float, steps: int) -> list[dict[str, Any]]:
    """The warm-started basis beside the SVD's of the same gradient, at each refresh while training."""
    case = bench.case
    model = case.attached()
    step, batches = step_of(case, model, GaLore(RANK, INTERVAL, SCALE), lr), Session(case, 0, sizes=Sizes(200, 8))
    batches.load()
    stream = case.task.batches(batches.data, case.spec, bench.batch, 0)
    chosen = {n: p for n, p in model.named_parameters() if ".3." in n and n.endswith("weight") and p.ndim == 2}
    rows = []
    for index in range(steps):
        kept: dict[int, torch.Tensor] = {}
        step.observer = lambda p, kept=kept: kept.__setitem__(id(p), p.grad.clone())  # type: ignore[misc]
        step(next(stream))
        if index < 3 or index % INTERVAL == 0:
            for name, parameter in chosen.items():
                gradient = tall(kept[id(parameter)], order_in_memory(parameter))
                ours, best = step.optimizers[0].state[parameter]["basis"], decomposed(gradient, RANK)
                share = captured(gradient, ours), captured(gradient, best)
                rows.append({"step": index, "layer": name, "angle": largest_angle(ours, best), "captured": share[0],
                             "best": share[1]})  # fmt: skip
    return rows


def absent(arm: Arm) -> str:
    return f"{arm.package} is not installed" if arm.package and not importlib.util.find_spec(arm.package) else ""


def tuned(bench: Bench, name: str, store: dict[str, Any]) -> float:
    """The rate with the lowest late loss on the tuning seed, of those the arm tries; stored."""
    arm = ARMS[name]
    if arm.like:
        return tuned(bench, arm.like, store)
    tried = store.setdefault("tuning", {}).setdefault(name, {})
    for rate in arm.rates:
        if str(rate) not in tried:
            tried[str(rate)] = late(losses(bench, arm.rule(arm.interval), rate, TUNING_SEED, bench.tuning))
    return float(min(tried, key=tried.__getitem__))


def run(bench: Bench, parts: Sequence[str], keep: Callable[[], None], store: dict[str, Any]) -> None:
    """Fill in what is missing of one bench, storing after every cell."""
    store |= {"task": bench.task, "batch": bench.batch, "steps": bench.steps, "repeats": bench.repeats}
    store["skipped"] = {n: absent(a) for n, a in ARMS.items() if absent(a)}
    arms = {n: a for n, a in ARMS.items() if not absent(a)}
    if "bytes" in parts:
        for name, arm in arms.items():
            cells = store.setdefault("bytes", {})
            cells[name] = cells.get(name) or bytes_of(bench, arm)
            print(bench.name, name, cells[name], flush=True)
            keep()
            gc.collect()
    if "time" in parts and "time" not in store:
        store["time"] = times(bench, arms, bench.repeats)
        print(bench.name, store["time"], flush=True)
        keep()
    if "loss" in parts:
        for name, arm in arms.items():
            for seed in SEEDS:
                cell = store.setdefault("loss", {}).setdefault(name, {})
                if str(seed) not in cell:
                    rate = tuned(bench, name, store)
                    found = losses(bench, arm.rule(arm.interval), rate, seed, bench.steps)
                    cell[str(seed)] = {"lr": rate, "losses": [round(x, 5) for x in found], "late": late(found)}
                    print(bench.name, name, seed, rate, round(late(found), 4), flush=True)
                    keep()
    if "angles" in parts and bench.angles and "angles" not in store:
        store["angles"] = angles(bench, tuned(bench, "GaLore", store), 3 * INTERVAL + 1)
        keep()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="benches whose name contains this")
    parser.add_argument("--part", choices=("bytes", "time", "loss", "angles"), help="one part; default all")
    parser.add_argument("--fresh", action="store_true", help="forget what is stored of the chosen benches and parts")
    parser.add_argument("--page", action="store_true", help="only write the page from what is stored")
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"benches": {}}
    parts = [given.part] if given.part else ["bytes", "time", "angles", "loss"]

    def keep() -> None:
        stored.update({"host": environment(), "when": now(), "rank": RANK, "interval": INTERVAL, "scale": SCALE})
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")

    for bench in BENCHES if not given.page else ():
        if given.only in bench.name:
            store = stored["benches"].setdefault(bench.name, {})
            for part in (*parts, "tuning") if given.fresh else ():
                store.pop(part, None)
            run(bench, parts, keep, store)
    report.write(stored)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
