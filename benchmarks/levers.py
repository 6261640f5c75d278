"""Peak memory and step time of every lever beside the same method without it, in one run, on random weights.

    OMP_NUM_THREADS=1 python benchmarks/levers.py [--quick] [--only MODEL] [--repeats N]

Peaks are measured by the counting allocator and predicted beside it (their difference is printed); step times are
process CPU seconds, the steps with and without the lever taken in turns, the fastest of each kept.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from workbench.case import Case
from workbench.core.profile import Tier
from workbench.environment import environment, now
from workbench.memory.measure import measure

RESULTS = Path(__file__).resolve().parent / "results" / "levers.json"


class Bench(NamedTuple):
    """A model and method at a shape (batch, length), its smaller shape for ``--quick``, and what is pulled."""

    task: str
    model: str
    method: str
    shape: tuple[int, int]
    quick: tuple[int, int]
    levers: tuple[dict[str, Any], ...]


BENCHES = (
    Bench("tokens", "minilm", "full", (8, 128), (2, 32), (
        {"saved": "bf16"}, {"saved": "int8"}, {"bit_masks": True}, {"recompute": 1}, {"recompute": 2},
        {"weights": "bf16"}, {"update_in_backward": True}, {"recompute": 1, "update_in_backward": True},
        {"saved": "int8", "bit_masks": True, "update_in_backward": True},
    )),
    Bench("tokens", "minilm", "lora", (8, 128), (2, 32), (
        {"weights": "nf4"}, {"weights": "frozen-bf16"}, {"saved": "int8"},
        {"weights": "frozen-bf16", "saved": "int8", "recompute": 2},
    )),
    Bench("tokens", "smollm2", "lora", (2, 128), (1, 32), (
        {"chunked_loss": 64}, {"weights": "nf4"}, {"weights": "frozen-bf16"}, {"recompute": 1}, {"saved": "int8"},
        {"chunked_loss": 64, "recompute": 1, "weights": "nf4"},
        {"chunked_loss": 64, "recompute": 1, "weights": "frozen-bf16"},
    )),
    Bench("tokens", "smollm2", "full", (2, 128), (1, 32), (
        {"update_in_backward": True}, {"weights": "bf16"}, {"chunked_loss": 64, "update_in_backward": True},
    )),
    Bench("pixels", "efficientnet-lite0", "full", (8, 96), (2, 64), (
        {"channels_last": True}, {"bit_masks": True}, {"saved": "bf16"}, {"saved": "int8"}, {"weights": "bf16"},
        {"channels_last": True, "bit_masks": True, "saved": "int8", "update_in_backward": True},
    )),
    Bench("pixels", "efficientnet-lite0", "last-blocks", (8, 96), (2, 64), (
        {"channels_last": True}, {"weights": "frozen-bf16"},
    )),
)  # fmt: skip


def steps_of(case: Case) -> Any:
    """A step on random weights, ready to be called with the case's batch."""
    return case.step(case.attached(weights=False))


def times(steps: list[Any], batches: list[Any], repeats: int) -> list[float]:
    """CPU seconds of one step of each, taken in turns: the fastest of ``repeats``."""
    best = [float("inf")] * len(steps)
    for _ in range(repeats):
        for index, (step, batch) in enumerate(zip(steps, batches, strict=True)):
            start = time.process_time()
            step(batch)
            best[index] = min(best[index], time.process_time() - start)
    return best


def rows_of(bench: Bench, quick: bool, repeats: int) -> list[dict[str, Any]]:
    batch, length = bench.quick if quick else bench.shape
    bare = Case(bench.task, bench.model, bench.method, batch, length)
    step, example = steps_of(bare), bare.example()
    without = measure(step, example)
    rows = []
    for settings in bench.levers:
        case = Case(bench.task, bench.model, bench.method, batch, length, settings=settings)
        predicted = case.predict(Tier.PROBE)
        pulled = steps_of(case)
        measured = measure(pulled, case.example())
        seconds = times([step, pulled], [example, case.example()], repeats)
        rows.append(
            {
                "model": bench.model,
                "method": bench.method,
                "batch": batch,
                "length": length,
                "lever": settings,
                "peak": measured.peak,
                "peak_without": without.peak,
                "peak_ratio": round(measured.peak / without.peak, 4),
                "saved_ratio": round(measured.saved / without.saved, 4),
                "predicted_minus_measured": predicted.peak - measured.peak,
                "step_seconds": round(seconds[1], 4),
                "step_seconds_without": round(seconds[0], 4),
                "time_ratio": round(seconds[1] / seconds[0], 3),
            }
        )
        show(rows[-1])
        del pulled
        gc.collect()
    return rows


def show(row: dict[str, Any]) -> None:
    lever = ", ".join(f"{n}={v}" for n, v in row["lever"].items())
    case = f"{row['model']} {row['method']} {row['batch']}x{row['length']}"
    print(
        f"{case:32}{lever:76}{row['peak_ratio']:8.3f}{row['saved_ratio']:8.3f}{row['time_ratio']:8.2f}"
        f"{row['predicted_minus_measured']:+8d}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small shapes, one repeat, nothing stored")
    parser.add_argument("--only", default="", help="one model")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{'case':32}{'lever':76}{'peak':>8}{'saved':>8}{'time':>8}{'error':>8}   (ratios to none; error in bytes)")
    rows = []
    for bench in BENCHES:
        if chosen.only in ("", bench.model):
            rows += rows_of(bench, chosen.quick, 1 if chosen.quick else chosen.repeats)
    if not chosen.quick:
        kept = json.loads(RESULTS.read_text())["rows"] if chosen.only and RESULTS.exists() else []
        rows = [r for r in kept if r["model"] != chosen.only] + rows
        kinds = {"peak": "measured", "step_seconds": "measured, process CPU time", "ratios": "measured"}
        stored = {"host": environment(), "when": now(), "kinds": kinds, "repeats": chosen.repeats, "rows": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
