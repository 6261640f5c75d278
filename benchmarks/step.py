"""Step time and peak of executors, update sets and peers, each beside the same eager sparse step, on random weights.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--only WORD] [--variants WORD] [--repeats N] [--compile-limit SECONDS]

The reference of a model is its last two blocks trained eagerly with the fused optimizer. Every other variant takes
its steps in turn with the reference's, in one process; times are CPU seconds, one thread. A ratio above 1 is faster
than the reference. Peaks are measured by the counting allocator, of a step that finds nothing in a prefix cache;
times are those of one that finds all. Compilation is given beside the step, not in it. A second table per model
puts every variant against full tuning and against LoRA with as many trained numbers; its ratios are quotients of the
first table's.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from perceptron import perceptrons

from workbench import races
from workbench.case import Case
from workbench.core.errors import PintpotError
from workbench.engine.limits import TooSlow, within
from workbench.environment import environment, now
from workbench.memory.measure import measure
from workbench.parts.base import TrainingStep
from workbench.parts.estimator.captured import Captured

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "step.json"

SHAPES = (
    ("tokens", "minilm", 8, 128),
    ("tokens", "minilm", 1, 32),
    ("tokens", "smollm2", 1, 32),
    ("pixels", "efficientnet-lite0", 8, 96),
)


class Variant(NamedTuple):
    """One row: a method with settings. ``change`` alters the finished step; ``settings`` may follow from the case."""

    label: str
    method: str
    settings: dict[str, Any] | Callable[[Case], dict[str, Any]] = {}
    change: Callable[[TrainingStep, Any, float], str] | None = None


REFERENCE = Variant("eager, last 2 blocks, fused", "last-blocks", {"blocks": 2})


def default_optimizer(step: TrainingStep, _batches: Any, _limit: float) -> str:
    """torch's own default loop instead of the fused kernel."""
    step._optimizers = {0: torch.optim.AdamW(step.parameters, lr=step.lr, weight_decay=0.01)}
    return ""


def compiled_with_budget(budget: float) -> Callable[[TrainingStep, Any, float], str]:
    """The loss through ``torch.compile``, whose partitioner keeps this share of the saved bytes."""

    def change(step: TrainingStep, batches: Any, limit: float) -> str:
        import torch._functorch.config as settings

        settings.activation_memory_budget = budget
        plain = step.loss_of
        made = torch.compile(plain, dynamic=False)
        step.loss_of = made
        started = time.perf_counter()
        try:
            with within(limit, "compiling"):
                step(batches)
        finally:
            settings.activation_memory_budget = 1.0
        return f"compiled in {time.perf_counter() - started:.0f} s"

    return change


def equal_rank(case: Case) -> dict[str, Any]:
    """LoRA on every linear layer of the blocks, of the rank that trains most nearly as many numbers."""

    def trained(one: Case) -> int:
        return sum(p.numel() for p in one.attached(device="meta", weights=False).parameters() if p.requires_grad)

    sizes = [trained(replace(case, method_name="lora", settings={"r": r, "targets": "linear"})) for r in (1, 2)]
    target = trained(replace(case, method_name=REFERENCE.method, settings=REFERENCE.settings))
    rank = max(1, round((target - sizes[0]) / (sizes[1] - sizes[0])) + 1)
    return {"r": rank, "targets": "linear"}


VARIANTS: tuple[Variant, ...] = (
    Variant("eager, full, default AdamW", "full", {}, default_optimizer),
    Variant("eager, full, fused", "full"),
    Variant("graph, last 2 blocks", "last-blocks", {"blocks": 2, "executor": "graph"}),
    Variant("inductor, last 2 blocks", "last-blocks", {"blocks": 2, "executor": "inductor"}),
    Variant("auto, last 2 blocks", "last-blocks", {"blocks": 2, "executor": "auto"}),
    Variant("graph, full", "full", {"executor": "graph"}),
    Variant("eager, LoRA r=8", "lora", {"r": 8}),
    Variant("graph, LoRA r=8", "lora", {"r": 8, "executor": "graph"}),
    Variant("eager, LoRA, as many trained", "lora", equal_rank),
    Variant("eager, LoRA r=8, frozen in int8", "lora", {"r": 8, "weights": "frozen-int8"}),
    Variant("eager, prefix int8", "last-blocks", {"blocks": 2, "weights": "prefix-int8"}),
    Variant("graph, prefix int8", "last-blocks", {"blocks": 2, "weights": "prefix-int8", "executor": "graph"}),
    Variant("graph, prefix bf16", "last-blocks", {"blocks": 2, "weights": "prefix-bf16", "executor": "graph"}),
    Variant("eager, prefix cached", "last-blocks", {"blocks": 2, "prefix_cache": "disk"}),
    Variant("graph, prefix cached", "last-blocks", {"blocks": 2, "prefix_cache": "disk", "executor": "graph"}),
    Variant("torch.compile, full", "full", {}, compiled_with_budget(1.0)),
    Variant("torch.compile, full, budget 0.5", "full", {}, compiled_with_budget(0.5)),
)


class Built(NamedTuple):
    step: TrainingStep
    batches: list[Any]
    note: str


def build(variant: Variant, shape: tuple[str, str, int, int], limit: float) -> Built:
    task, model, batch, length = shape
    bare = Case(task, model, variant.method, batch, length)
    settings = variant.settings(bare) if callable(variant.settings) else variant.settings
    case = replace(bare, settings=settings)
    notes = [f"r={settings['r']}"] if callable(variant.settings) else []
    if settings.get("executor") == "auto":
        result = races.raced(case, limit=limit)
        notes.append(f"the race chose {result.winner}")
        notes += [f"{name} is out: {why}" for name, why in result.out.items()]
    torch.manual_seed(0)
    step = case.step(case.attached(weights=False))
    if isinstance(step.parts.estimator, Captured):
        step.parts = replace(step.parts, estimator=replace(step.parts.estimator, compile_limit=limit))
    batches = case.example()
    if variant.change is not None:
        notes.append(variant.change(step, batches, limit))
    for _ in range(2):
        step(batches)
    notes += getattr(step.parts.estimator, "notes", [])
    return Built(step, batches, "; ".join(n for n in notes if n))


def compare(variant: Variant, shape: tuple[str, str, int, int], repeats: int, limit: float) -> dict[str, Any]:
    """One row: the variant's steps in turn with the reference's."""
    row: dict[str, Any] = {"model": f"{shape[1]} {shape[2]}x{shape[3]}", "variant": variant.label}
    try:
        mine, reference = build(variant, shape, limit), build(REFERENCE, shape, limit)
    except (PintpotError, TooSlow, RuntimeError) as error:
        return {**row, "skipped": str(error).splitlines()[0][:300]}
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for built, found in zip((mine, reference), seconds):
            started = time.process_time()
            built.step(built.batches)
            found.append(time.process_time() - started)
    del reference
    gc.collect()
    ours, theirs = seconds
    return {
        **row,
        "trained": sum(p.numel() for p in mine.step.parameters),
        "peak": measure(mine.step, mine.batches).peak,
        "seconds": min(ours),
        "median seconds": statistics.median(ours),
        "ratio": min(theirs) / min(ours),
        "median ratio": statistics.median(theirs) / statistics.median(ours),
        "note": mine.note,
    }


# -- the page ----------------------------------------------------------------------------------------------

HEAD = ("variant", "trained", "peak, MB", "step, ms (minimum, median)", "faster than the reference", "note")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "skipped" in row:
        return row["variant"], "-", "-", "-", "-", f"skipped: {row['skipped']}"
    return (
        row["variant"],
        f"{row['trained'] / 1e6:.2f} M" if "trained" in row else "-",
        f"{row['peak'] / 1e6:.1f}" if "peak" in row else "-",
        f"{row['seconds'] * 1e3:.2f}, {row['median seconds'] * 1e3:.2f}",
        f"{row['ratio']:.2f}x ({row['median ratio']:.2f}x)",
        row["note"],
    )


FULL, ADAPTER = "eager, full, fused", "eager, LoRA, as many trained"


def derived(rows: list[dict[str, Any]]) -> list[str]:
    """Every variant against full tuning and against LoRA with as many trained numbers: speed, and share of its peak."""
    timed = {r["variant"]: r for r in rows if "ratio" in r}
    if not {FULL, ADAPTER} <= set(timed):
        return []
    head = ("variant", "faster than full, fused", "share of its peak", "faster than that LoRA", "share of its peak")
    lines = [f"\n| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in timed.items():
        found = [name]
        for other in (timed[FULL], timed[ADAPTER]):
            found += [f"{row['ratio'] / other['ratio']:.2f}x", f"{row['peak'] / other['peak']:.2f}"]
        lines.append(f"| {' | '.join(found)} |")
    return lines


def keep(row: dict[str, Any]) -> None:
    """Put a row into the results in place of the older one, and write the page anew."""
    RESULTS.parent.mkdir(exist_ok=True)
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = [r for r in rows if (r["model"], r["variant"]) != (row["model"], row["variant"])] + [row]
    RESULTS.write_text(json.dumps({"host": environment(), "when": now(), "rows": rows}, indent=1, default=str) + "\n")
    text = (__doc__ or "").strip().split("\n")
    host = environment()
    lines = [f"# {text[0].rstrip('.')}\n", "Written by", "\n```", text[2].strip(), "```\n", *text[4:], ""]
    lines += [f"Host: {', '.join(f'{k} {v}' for k, v in host.items() if isinstance(v, str | int | float))}\n"]
    for model in dict.fromkeys(r["model"] for r in rows):
        lines += [f"\n## {model}\n", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
        lines += [f"| {' | '.join(cells(r))} |" for r in rows if r["model"] == model]
        lines += derived([r for r in rows if r["model"] == model])
    (ROOT / "docs" / "step.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models and shapes whose name contains this")
    parser.add_argument("--variants", default="", help="variants whose label contains one of these, comma between")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--compile-limit", type=float, default=300.0, help="seconds after which compiling is given up")
    given = parser.parse_args()
    words = given.variants.split(",")
    for shape in SHAPES:
        if given.only not in f"{shape[1]} {shape[2]}x{shape[3]}":
            continue
        for variant in VARIANTS:
            if any(word in variant.label for word in words):
                row = compare(variant, shape, given.repeats, given.compile_limit)
                print(row["model"], dict(zip(HEAD, cells(row))), flush=True)
                keep(row)
    if given.only in "perceptron":  # none given is in every name
        for row in perceptrons(given.repeats, given.compile_limit):
            print(row["model"], dict(zip(HEAD, cells(row))), flush=True)
            keep(row)


if __name__ == "__main__":
    main()
