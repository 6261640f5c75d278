"""What the frozen part of a model costs: time and peak of each way to make it cheap, in one run, on random weights.

    OMP_NUM_THREADS=1 python benchmarks/frozen.py [--only MODEL] [--repeats N] [--profile LABEL] [--store]

Step times are process CPU seconds, all variants taken in turns, the fastest of each kept; peaks are measured by the
counting allocator and are those of a step that finds nothing in the prefix cache, the highest of a run. Ratios are to
full fine-tuning with fused AdamW, and to peft's LoRA at as many trained parameters as the last blocks have.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from workbench.case import Case
from workbench.core.phase import at_its_most
from workbench.environment import environment, now
from workbench.memory.measure import measure

RESULTS = Path(__file__).resolve().parent / "results" / "frozen.json"


class Variant(NamedTuple):
    """One way to train; ``label`` names its row."""

    label: str
    method: str
    settings: dict[str, Any]


class Shape(NamedTuple):
    """A model at a batch and a length (tokens, or pixels a side), and settings that all its variants share."""

    task: str
    model: str
    batch: int
    length: int
    shared: dict[str, Any]


SHAPES = (
    Shape("tokens", "minilm", 8, 128, {}),
    Shape("tokens", "minilm", 1, 32, {}),
    Shape("tokens", "smollm2", 2, 64, {}),
    Shape("pixels", "efficientnet-lite0", 8, 96, {"channels_last": True}),
    Shape("pixels", "efficientnet-lite0", 1, 96, {"channels_last": True}),
)
CACHED = {"prefix_cache": "disk"}


def variants(shape: Shape) -> list[Variant]:
    """The rows of a shape. Convolutions have no int8 kernel here; their prefix has bfloat16."""
    text = shape.task == "tokens"
    narrow = "prefix-int8" if text else "prefix-bf16"
    rank = equal_rank(shape)
    equal = {"targets": "linear", "r": rank}
    rows = [
        Variant("full", "full", {}),
        Variant("last blocks", "last-blocks", {}),
        *([Variant("last blocks, prefix int8", "last-blocks", {"weights": "prefix-int8"})] if text else []),
        Variant("last blocks, prefix bf16", "last-blocks", {"weights": "prefix-bf16"}),
        Variant("last blocks, cached", "last-blocks", CACHED),
        Variant(f"last blocks, cached {narrow.removeprefix('prefix-')}", "last-blocks", CACHED | {"weights": narrow}),
        Variant(f"lora r={rank}", "lora", equal),
    ]
    if text:
        rows += [
            Variant("lora", "lora", {}),
            Variant("lora, frozen int8", "lora", {"weights": "frozen-int8"}),
            Variant(f"lora r={rank}, frozen int8", "lora", equal | {"weights": "frozen-int8"}),
        ]
    return rows


def equal_rank(shape: Shape) -> int:
    """The rank at which LoRA on every linear layer trains as many parameters as the last blocks."""

    def trained(method: str, **settings: Any) -> int:
        case = Case(shape.task, shape.model, method, shape.batch, shape.length, settings=settings)
        model = case.attached(device="meta", weights=False)
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    one, two = (trained("lora", targets="linear", r=r) for r in (1, 2))
    return max(1, round((trained("last-blocks") - (2 * one - two)) / (two - one)))


def run(shape: Shape, repeats: int) -> list[dict[str, Any]]:
    rows, steps = [], []
    for variant in variants(shape):
        given = shape.shared | variant.settings
        case = Case(shape.task, shape.model, variant.method, shape.batch, shape.length, settings=given)
        step, batch = case.step(case.attached(weights=False)), case.example()
        profile = measure(step, batch)
        step(batch)  # fills the cache
        steps.append((step, batch))
        trained = sum(p.numel() for p in step.parameters)
        rows.append({"label": variant.label, "settings": given, "trained": trained, "peak": profile.peak})
    for row, (step, batch) in zip(rows, steps, strict=True):
        if "prefix_cache" in row["settings"]:
            with at_its_most():
                row["first_epoch_seconds"] = min(seconds(step, batch) for _ in range(3))
    for _ in range(repeats):
        for row, (step, batch) in zip(rows, steps, strict=True):
            row["seconds"] = min(row.get("seconds", float("inf")), seconds(step, batch))
    return rows


def seconds(step: Any, batch: Any) -> float:
    start = time.process_time()
    step(batch)
    return time.process_time() - start


def show(shape: Shape, rows: list[dict[str, Any]]) -> None:
    full = rows[0]
    lora = next(r for r in rows if r["label"].startswith("lora r="))
    print(f"\n{shape.model} {shape.batch}x{shape.length} {shape.shared or ''}")
    print(f"{'':34}{'trained':>10}{'ms':>9}{'x full':>8}{'peak/full':>10}{'x lora=':>9}{'peak/lora=':>11}{'first':>7}")
    for row in rows:
        first = f"{row['first_epoch_seconds'] / row['seconds']:7.2f}" if "first_epoch_seconds" in row else ""
        print(
            f"{row['label']:34}{row['trained']:10d}{row['seconds'] * 1e3:9.1f}"
            f"{full['seconds'] / row['seconds']:8.2f}{row['peak'] / full['peak']:10.3f}"
            f"{lora['seconds'] / row['seconds']:9.2f}{row['peak'] / lora['peak']:11.3f}{first}",
            flush=True,
        )


def breakdown(shape: Shape, label: str) -> None:
    """Where the time of one variant goes, by operator."""
    variant = next(v for v in variants(shape) if v.label == label)
    given = shape.shared | variant.settings
    case = Case(shape.task, shape.model, variant.method, shape.batch, shape.length, settings=given)
    step, batch = case.step(case.attached(weights=False)), case.example()
    for _ in range(3):
        step(batch)
    with torch.profiler.profile() as profile:
        for _ in range(5):
            step(batch)
    print(f"\n{shape.model} {shape.batch}x{shape.length} {label}: five steps")
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="one model")
    parser.add_argument("--batch", type=int, default=0, help="one batch size")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--profile", default="", help="show where the time of this row goes instead")
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    tables = []
    for shape in SHAPES:
        if chosen.only not in ("", shape.model) or chosen.batch not in (0, shape.batch):
            continue
        if chosen.profile:
            breakdown(shape, chosen.profile)
            continue
        rows = run(shape, chosen.repeats)
        show(shape, rows)
        tables.append({"shape": shape._asdict(), "rows": rows})
    if chosen.store and tables:
        kinds = {"peak": "measured", "seconds": "measured, process CPU time", "ratios": "measured"}
        stored = {"host": environment(), "when": now(), "kinds": kinds, "repeats": chosen.repeats, "tables": tables}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
