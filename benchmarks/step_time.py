"""Predicted beside measured step time of shipped models and methods on this host, and the distribution of the error.

    OMP_NUM_THREADS=1 python benchmarks/step_time.py [--only TEXT] [--group GROUP] [--resume] [--write]

The product predicts each case from a recording on fake tensors; two fresh processes, one before and one after,
build the model and measure the step itself, and how far the two are apart says how well the truth is known. All
three divide by the host's pace in their own minute. None of the cases was used to fit the call costs; those held
out were first run after the method of predicting was fixed. ``--resume`` keeps the calibration and the cases that are
in the file of rows, so that a quiet hour can be spent in pieces; ``--write`` makes docs/step-time.md.
"""

from __future__ import annotations

import argparse
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
from workbench.core.errors import Incompatible, ResourceMissing

RESULTS = Path(__file__).with_name("results") / "step_time.json"
PAGE = Path(__file__).parents[1] / "docs" / "step-time.md"
GROUPS = {
    "known": ("full", "lora", "mezo"),
    "held out": ("last-blocks", "checkpointing", "update-in-backward"),
}
#: Task and model, and its shape (batch, length or side) in each of the groups.
MODELS = {
    ("tokens", "minilm"): ((1, 32), (4, 48)),
    ("pixels", "efficientnet-lite0"): ((1, 64), (4, 80)),
    ("tokens", "tiny-llama"): ((2, 16), (8, 48)),
    ("tokens", "smollm2"): ((1, 16), (2, 24)),
    ("tokens", "tiny-bert"): ((2, 16), (16, 48)),
    ("pixels", "tiny-vit"): ((4, 16), (32, 16)),
}
TARGET = {"median": 0.05, "p90": 0.10}


def cases() -> Iterator[tuple[str, Case]]:
    """Group and case of every combination whose method says that it serves the model."""
    for number, (group, methods) in enumerate(GROUPS.items()):
        for (task, model), shapes in MODELS.items():
            for method in methods:
                case = Case(task, model, method, *shapes[number])
                if case.refusal() is None:
                    yield group, case


def label(case: Case) -> str:
    return f"{case.model_name} {case.method_name} {case.batch}x{case.length}"


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Steps of the real model in units of the pace, their seconds and page faults; run in a fresh process."""
    from workbench.devices.pace import step_clock
    from workbench.devices.replay import in_units_of_pace

    step, batch = case.step(case.attached(weights=False)), case.example()
    step(batch)
    clock, raw, faults = step_clock(), [], []

    def run() -> dict[str, float]:
        before, old = clock(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step(batch)
        raw.append(clock() - before)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - old)
        return {"step": raw[-1]}

    units = [run["step"] for run in in_units_of_pace(run, seconds)]
    low, middle, high = statistics.quantiles(units, n=4) if len(units) > 1 else units * 3
    return {
        "units": middle, "seconds": statistics.median(raw), "spread": (high - low) / middle, "steps": len(units),
        "page faults": statistics.median(faults),
    }  # fmt: skip


def in_fresh_process(index: int, seconds: float) -> dict[str, Any]:
    """:func:`measure` of the case with this number, in a process that has done nothing else."""
    command = [sys.executable, __file__, "--measure", str(index), "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(index: int, group: str, case: Case, seconds: float) -> dict[str, Any] | None:
    """Measure one case, predict it, measure it again, print all; ``None`` where the method turns out not to apply."""
    from workbench.devices import get
    from workbench.devices.step_time import calibrated_pace
    from workbench.plan.verdict import cost
    from workbench.predictions import predicted_step_time

    try:
        first = in_fresh_process(index, seconds)
        guess = predicted_step_time(case, fresh=True)
    except (Incompatible, ResourceMissing, subprocess.CalledProcessError) as error:
        print(f"{label(case):36s} {error}")
        return None
    second = in_fresh_process(index, seconds)
    truth = (first["units"] + second["units"]) / 2
    units = (guess.value or 0.0) / calibrated_pace()
    measured = (first["seconds"] + second["seconds"]) / 2
    row = {
        "case": label(case), "group": group, "predicted": measured * units / truth, "measured": measured,
        "error": units / truth - 1, "repeat": (second["units"] - first["units"]) / truth,
        "spread": max(first["spread"], second["spread"]), "steps": first["steps"] + second["steps"],
        "page faults": first["page faults"], "load": os.getloadavg()[0], "note": guess.note,
        "energy": cost(case, get("this-host"))[1].value,
    }  # fmt: skip
    print(
        f"{row['case']:36s} {row['predicted'] * 1e3:9.2f} {measured * 1e3:9.2f} ms {row['error']:+7.1%} "
        f"{row['repeat']:+7.1%} {row['spread']:7.1%} {row['load']:5.1f}",
        flush=True,
    )
    return row


def distribution(errors: list[float]) -> dict[str, float]:
    """Median, 90th percentile (nearest rank, rounded up) and maximum of the absolute error."""
    sizes = sorted(abs(error) for error in errors)
    return {"median": statistics.median(sizes), "p90": sizes[-(-9 * len(sizes) // 10) - 1], "max": sizes[-1]}


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Distribution of the error and of the truth's own repeat, for every group and all together."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*GROUPS, "all"):
        chosen = [row for row in rows if name in ("all", row["group"])]
        if chosen:
            found[name] = {
                "cases": len(chosen),
                "error": distribution([row["error"] for row in chosen]),
                "repeat": distribution([row["repeat"] for row in chosen]),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--group", choices=GROUPS, help="one group alone")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the rows")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring per process")
    parser.add_argument("--write", action="store_true", help="write docs/step-time.md")
    parser.add_argument("--resume", action="store_true", help="keep the calibration and the rows there are")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further case after this time")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    numbered = list(enumerate(cases()))
    if options.measure is not None:
        print(json.dumps(measure(numbered[options.measure][1][1], options.seconds)))
        return
    if options.write and (options.only or options.group):
        parser.error("--write needs every case: drop --only and --group")
    from workbench.devices.calibrate import calibrate
    from workbench.engine.perturbed_steps import perturbed_steps

    load = os.getloadavg()
    print(f"load {load[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if not options.resume:
        calibrate(more=perturbed_steps(False))
    head = ("predicted", "measured", "error", "repeat", "spread", "load")
    print(f"{'case':36s} {head[0]:>9s} {head[1]:>9s}    {head[2]:>7s} {head[3]:>7s} {head[4]:>7s} {head[5]:>5s}")
    rows: list[dict[str, Any]] = json.loads(options.out.read_text("utf-8"))["rows"] if options.resume else []
    known, until = {row["case"] for row in rows}, time.monotonic() + 60 * options.minutes
    for index, (group, case) in numbered:
        chosen = options.only in label(case) and options.group in (None, group) and label(case) not in known
        if chosen and time.monotonic() < until and (row := compare(index, group, case, options.seconds)):
            rows.append(row)
            save(options.out, rows, load)
    for name, numbers in summary(rows).items():
        for what in ("error", "repeat"):
            print(f"{name}, absolute {what}: " + ", ".join(f"{k} {v:.1%}" for k, v in numbers[what].items()))
    if options.write:
        PAGE.write_text(page(json.loads(options.out.read_text(encoding="utf-8"))), encoding="utf-8")


def save(out: Path, rows: list[dict[str, Any]], load: tuple[float, ...]) -> None:
    """Write what there is so far, so that an interrupted run is not lost."""
    from workbench.devices.host import calibration
    from workbench.environment import environment, now

    stored = calibration() or {}
    result = {
        "host": environment() | {"title": stored["device"]["title"], "power": stored["device"]["power"]},
        "made": now(), "calls": stored["calls"], "load": {"at the start": load, "at the end": os.getloadavg()},
        "cases": len(rows), "summary": summary(rows), "rows": rows,
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def page(result: dict[str, Any]) -> str:
    """The page on step time, from the rows of one run."""
    host, lines = result["host"], []
    loads = [f"{result['load'][when][0]:.1f}" for when in ("at the start", "at the end")]
    for name, numbers in result["summary"].items():
        error, repeat = numbers["error"], numbers["repeat"]
        lines.append(
            f"| {name} | {numbers['cases']} | {error['median']:.1%} | {error['p90']:.1%} | {error['max']:.1%} "
            f"| {repeat['median']:.1%} | {repeat['p90']:.1%} |"
        )
    rows = [
        f"| {r['case']} | {r['group']} | {r['predicted'] * 1e3:.2f} | {r['measured'] * 1e3:.2f} | {r['error']:+.1%} "
        f"| {r['repeat']:+.1%} | {'-' if r['energy'] is None else format(r['energy'], '.3g')} |"
        for r in result["rows"]
    ]
    untimed = [f"{r['case']} ({r['note'].partition('; ')[2]})" for r in result["rows"] if "not timed" in r["note"]]
    verdicts = [f"{name}: {_verdict(numbers['error'])}" for name, numbers in result["summary"].items()]
    power = "its own energy counters" if host["power"] else "no counter: energy is absent, not guessed"
    return f"""# Step time: predicted beside measured

Made by `OMP_NUM_THREADS=1 python benchmarks/step_time.py --write`, in pieces with `--resume`; do not edit.
{result["made"]}, {host["cores"]} cores of {host["title"]} ({host["processor"]}),
{host["threads"]} thread(s), torch {host["torch"]},
load {loads[0]} at the start and {loads[1]} at the end. Energy of this host: {power}.

**Predicted**: the step's operators, recorded on fake tensors, are run in their order on stand-in tensors and timed;
calibrated costs per call of operator, optimizer and module are added. **Measured**: the mean of two fresh processes
that build the model and step, medians of thread time, one before and one after the prediction. Both are divided by
the pace of a fixed piece of work in their own minute. *Repeat* is how far the two measurements are apart: no
prediction can be judged more finely than that. Cases held out were first run after the method was fixed. On devices
other than the host a time is a roofline on counted work, marked extrapolated, and is not part of this table.

{len(result["rows"])} of {len(list(cases()))} cases had been run when this was written; `--resume` runs the others.
Operators that could not be timed: {"; ".join(untimed) or "none"}.

Target: median absolute error at most {TARGET["median"]:.0%}, 90th percentile at most {TARGET["p90"]:.0%}.
{"; ".join(verdicts)}. Cases held out are the better judge: the others were looked at while the method was made.

| cases | number | median error | p90 | worst | median repeat | p90 repeat |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

| case (batch x length or side) | group | predicted ms | measured ms | error | repeat | J a step |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _verdict(error: dict[str, float]) -> str:
    """Which of the targets were met."""
    return ", ".join(f"{k} {'met' if error[k] <= v else 'missed'} ({error[k]:.1%})" for k, v in TARGET.items())


if __name__ == "__main__":
    main()
