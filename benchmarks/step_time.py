"""Predicted beside measured step time of shipped models and methods on this host, and the distribution of the error.

    OMP_NUM_THREADS=1 python benchmarks/step_time.py [--only TEXT] [--out FILE]

The product predicts each case from a recording on fake tensors; a fresh process then measures it (median of
repeated steps), looking at the host's pace in between. None of the cases was used to fit the call costs. Two
errors are printed: of the prediction at the pace of the measurement, and of the one at the calibration's pace,
which cannot know what other jobs do meanwhile. The load is part of the result.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.case import Case
from workbench.core.errors import Incompatible

RESULTS = Path(__file__).with_name("results") / "step_time.json"
ERRORS = ("error", "error at calibration")
METHODS = ("full", "lora", "last-blocks", "mezo")
#: Task and model, and two shapes (batch, length or side).
MODELS = {
    ("tokens", "minilm"): ((1, 32), (4, 64)),
    ("pixels", "efficientnet-lite0"): ((1, 64), (4, 96)),
    ("tokens", "tiny-llama"): ((2, 16), (8, 64)),
    ("tokens", "smollm2"): ((1, 16), (1, 48)),
    ("tokens", "tiny-bert"): ((2, 16), (16, 64)),
    ("pixels", "tiny-vit"): ((4, 16), (32, 16)),
}


def cases() -> Iterator[Case]:
    """Every combination whose method says that it serves the model."""
    for (task, model), shapes in MODELS.items():
        for (batch, length), method in itertools.product(shapes, METHODS):
            case = Case(task, model, method, batch, length)
            if case.refusal() is None:
                yield case


def label(case: Case) -> str:
    return f"{case.model_name} {case.method_name} B{case.batch} L{case.length}"


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Median step, its spread, page faults a step and the pace of the host meanwhile; run in a fresh process."""
    from workbench.devices.pace import pace, step_clock

    model = case.attached(weights=False)
    step, batch = case.step(model), case.example()
    for _ in range(2):
        step(batch)
    clock, taken, paces, faults = step_clock(), [], [pace(3)], []
    for _ in range(4):
        until = time.perf_counter() + seconds / 4
        block = 0
        step(batch)  # the look at the pace emptied the caches
        while block < 3 or time.perf_counter() < until:
            before, old = clock(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            step(batch)
            taken.append(clock() - before)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - old)
            block += 1
        paces.append(pace(3))
    low, middle, high = statistics.quantiles(taken, n=4)
    return {
        "measured": middle, "spread": (high - low) / middle, "steps": len(taken),
        "pace": statistics.median(paces), "page faults": statistics.median(faults),
    }  # fmt: skip


def in_fresh_process(index: int) -> dict[str, Any]:
    """:func:`measure` of the case with this number, in a process that has done nothing else."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", str(index)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(index: int, case: Case) -> dict[str, Any] | None:
    """Predict one case, measure it, print both; ``None`` where the method turns out not to apply."""
    from workbench.devices.step_time import calibrated_pace
    from workbench.predictions import predicted_step_time

    try:
        guess = predicted_step_time(case, fresh=True)
    except Incompatible as error:
        print(f"{label(case):38s} {error.reason}")
        return None
    truth = in_fresh_process(index)
    now = (guess.value or 0.0) * truth["pace"] / calibrated_pace()
    row = {
        "case": label(case), "predicted": now, **truth, "error": now / truth["measured"] - 1,
        "predicted at calibration": guess.value, "error at calibration": (guess.value or 0.0) / truth["measured"] - 1,
        "load": os.getloadavg()[0], "note": guess.note,
    }  # fmt: skip
    print(
        f"{row['case']:38s} {now * 1e3:9.2f} {row['measured'] * 1e3:9.2f} ms {row['spread']:6.1%} "
        f"{row['error']:+7.1%} {row['error at calibration']:+7.1%} {row['load']:5.1f}",
        flush=True,
    )
    return row


def distribution(errors: list[float]) -> dict[str, float]:
    """Median, 90th percentile and maximum of the absolute error."""
    sizes = sorted(abs(error) for error in errors)
    ninth = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    return {"median": statistics.median(sizes), "p90": ninth, "max": sizes[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the rows")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring per case")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    numbered = list(enumerate(cases()))
    if options.measure is not None:
        print(json.dumps(measure(numbered[options.measure][1], options.seconds)))
        return
    from workbench.devices.calibrate import calibrate

    load = os.getloadavg()
    print(f"load {load[0]:.1f} on {os.cpu_count()} cores; calibrating", flush=True)
    calibrate()
    head = ("predicted", "measured", "spread", "error", "at cal.", "load")
    print(f"{'case':38s} {head[0]:>9s} {head[1]:>9s}    {head[2]:>6s} {head[3]:>7s} {head[4]:>7s} {head[5]:>5s}")
    rows: list[dict[str, Any]] = []
    for index, case in numbered:
        if options.only in label(case) and (row := compare(index, case)):
            rows.append(row)
            save(options.out, rows, load)
    for name in ERRORS:
        numbers = distribution([row[name] for row in rows])
        print(f"absolute {name}: " + ", ".join(f"{k} {v:.1%}" for k, v in numbers.items()))


def save(out: Path, rows: list[dict[str, Any]], load: tuple[float, ...]) -> None:
    """Write what there is so far, so that an interrupted run is not lost."""
    from workbench.environment import environment

    summary = {name: distribution([row[name] for row in rows]) for name in ERRORS}
    loads = {"at the start": load, "at the end": os.getloadavg()}
    result = {"host": environment(), "load": loads, "cases": len(rows), "summary": summary, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
