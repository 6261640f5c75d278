"""Forward-only tuning beside first-order tuning at equal memory, work, time and energy; stores courses, writes a page.

    OMP_NUM_THREADS=1 python benchmarks/equal_cost.py [--only CONTEST] [--way WAY] [--minutes M] [--fresh] [--page]

Everyone is paid what a number of steps of full tuning costs, in each currency; every way is trained once for each seed
and scored where a half and all of each amount is used up. A rate written ``{lr}`` is chosen on another seed. Time
is measured on one thread, work counted, energy simulated: a roofline of the Raspberry Pi 4's data sheet. What is
stored is not run again; ``--minutes`` stops after so long and the next call goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

import workbench as wb
from workbench import figures
from workbench.environment import environment, now
from workbench.figures.mpl import to_svg
from workbench.studies.courses import Contest, Course

RESULTS = Path(__file__).resolve().parent / "results" / "equal_cost.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "equal-cost.md"
HEAD = """# Forward-only tuning at equal memory, work, time and energy

Written by

```
OMP_NUM_THREADS=1 python benchmarks/equal_cost.py
```

on {cores} cores, 1 thread, {when}; redrawn from stored courses with `--page`. Work is counted, time is the thread's
own (measured, other jobs ran beside it), energy simulated from the Raspberry Pi 4's data sheet, peaks measured. The
scale is small: what is not told apart here may be with more steps.
"""
SEEDS = (0, 1, 2)
TUNING_SEED = 100


class Plan(NamedTuple):
    """A contest in numbers. ``rates`` are tried for ways that have an ``{lr}``, by the loss on held-out examples."""

    task: str
    model: str
    batch: int
    length: int | None
    train: int
    test: int
    steps: int
    ways: dict[str, tuple[float, ...]]
    by_metric: bool

    def contest(self, ways: list[str], steps: int | None = None) -> Contest:
        bench = wb.open(
            self.task, self.model, "raspberry-pi-4", "8GiB", batch=self.batch, length=self.length, train=self.train,
            test=self.test,
        )  # fmt: skip
        return Contest(bench, tuple(ways), steps or self.steps, by_metric=self.by_metric)


PLANS = {
    "movie sentences, MiniLM": Plan(
        "movie-sentiment", "minilm", 8, 32, 1200, 400, 120,
        {
            "full lr={lr}": (3e-5, 1e-4, 3e-4),
            "checkpointing lr={lr}": (3e-5, 1e-4, 3e-4),
            "last-blocks blocks=2 lr={lr}": (1e-4, 3e-4, 1e-3),
            "lora lr={lr}": (1e-3, 3e-3, 1e-2),
            "head lr={lr}": (1e-3, 1e-2, 1e-1),
            "mezo lr={lr}": (1e-5, 1e-4, 1e-3),
            "mezo optimizer=adamw lr={lr}": (3e-5, 1e-4, 3e-4),
            "mezo optimizer=adamw backprop_blocks=1 lr={lr}": (3e-5, 1e-4, 3e-4),
            "lora gradient=two-sided optimizer=adamw lr={lr}": (1e-3, 3e-3, 1e-2),
        },
        True,
    ),
    "function calling, SmolLM2-135M": Plan(
        "function-calling", "smollm2", 1, 160, 64, 12, 6,
        {
            "full lr=0.00002": (),
            "checkpointing lr=0.00002": (),
            "last-blocks blocks=4 lr=0.0002": (),
            "mezo lr={lr}": (1e-6, 1e-5),
            "lora gradient=two-sided optimizer=adamw lr={lr}": (1e-3, 1e-2),
        },
        False,
    ),
}  # fmt: skip


def tuned(plan: Plan, way: str, store: dict[str, Any], stop: float) -> str | None:
    """The way with the rate that had the lowest held-out loss on the tuning seed; ``None`` when time ran out."""
    rates = plan.ways[way]
    if not rates:
        return way
    tried = store.setdefault("tuning", {}).setdefault(way, {})
    for rate in rates:
        if str(rate) not in tried:
            if time.monotonic() > stop:
                return None
            name = way.format(lr=rate)
            course = plan.contest([name], max(2, plan.steps // 2)).course(name, TUNING_SEED)
            tried[str(rate)] = course.marks[-1].loss if not course.end else float("inf")
            print(name, tried[str(rate)], flush=True)
    return way.format(lr=min(tried, key=tried.__getitem__))


def run(plan: Plan, store: dict[str, Any], keep: Any, stop: float, wanted: str = "") -> None:
    """Fill in what is missing of one contest, a course at a time, storing after each; only of the ``wanted`` ways."""
    ways = []
    for way in plan.ways:
        chosen = tuned(plan, way, store, stop)
        keep()
        if chosen is None:
            return
        ways.append(chosen)
    contest = plan.contest(ways)
    store["amounts"] = contest.amounts()
    courses = store.setdefault("courses", {})
    for seed in SEEDS:
        for way in ways:
            key = f"{way} | {seed}"
            if key in courses or wanted not in way:
                continue
            courses[key] = contest.course(way, seed).to_dict()
            print(key, courses[key]["marks"][-1], flush=True)
            keep()
            if time.monotonic() > stop:
                return


def courses_of(store: dict[str, Any]) -> list[Course]:
    return [Course.from_dict(c) for c in store.get("courses", {}).values()]


def write_page(stored: dict[str, Any]) -> None:
    """Tables and figures of every contest that has courses, redrawn from what is stored."""
    parts = [HEAD.format(when=stored["when"], cores=stored["host"].get("cores"))]
    for name, plan in PLANS.items():
        store = stored["contests"].get(name, {})
        found = courses_of(store)
        if not found:
            continue
        seeds = sorted({c.seed for c in found})
        picture = f"equal-cost-{list(PLANS).index(name) + 1}.svg"
        drawn = to_svg(figures.courses(found, store["amounts"])).replace("currentColor", "#7D8590")
        (PAGE.parent / picture).write_text(drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
        parts.append(
            f"## {name}\n\n{plan.task}, batch {plan.batch}, everyone paid what {plan.steps} steps of full tuning cost; "
            f"seeds {', '.join(map(str, seeds))}, {plan.test} test examples.\n\n{_table(found, store['amounts'])}\n\n"
            f"{figures.courses_answer(found, store['amounts'])}\n\n![Score at equal cost]({picture})\n\n{_rates(store)}"
        )
    PAGE.write_text("\n".join(parts))


def _table(found: list[Course], amounts: dict[str, float]) -> str:
    table = figures.courses_table(found, amounts)
    lines = [[c.title for c in table.columns], ["---"] * len(table.columns)]
    lines += [[table.shown(row, c) for c in table.columns] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{table.caption}"


def _rates(store: dict[str, Any]) -> str:
    said = [
        f"- `{way}`: " + ", ".join(f"{rate} gave {loss:.3f}" for rate, loss in tried.items())
        for way, tried in store.get("tuning", {}).items()
        if tried
    ]
    return "Rates tried on another seed, by loss on held-out examples:\n\n" + "\n".join(said) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="contests whose name contains this")
    parser.add_argument("--way", default="", help="ways whose text contains this")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no further run after so long")
    parser.add_argument("--fresh", action="store_true", help="forget what is stored of the chosen contests")
    parser.add_argument("--page", action="store_true", help="only write the page from what is stored")
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"contests": {}}

    def keep() -> None:
        stored.update({"host": environment(), "when": now()})
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")

    stop = time.monotonic() + 60 * given.minutes
    for name, plan in PLANS.items() if not given.page else ():
        if given.only in name:
            if given.fresh:
                stored["contests"].pop(name, None)
            run(plan, stored["contests"].setdefault(name, {}), keep, stop, given.way)
    write_page(stored)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
