"""The planner against exhaustive search and against a general optimizer that knows nothing of the step.

    OMP_NUM_THREADS=1 python benchmarks/planner.py

Every set of settings of a small grid is sized, which gives the best plan under each budget; sizing is what costs time.
*Sized* is how many of them each way of searching had to size, *speed* what its plan reaches of the best one (examples
per second by roofline on a Raspberry Pi 4). Optuna's TPE sampler is given the same sizes as answers, a plan that passes
the budget as a violated constraint; *to 90 %* is after how many distinct sets of settings it first held a plan within a
tenth of the best, the median of five seeds. Fake tier; times are of a process that has nothing in its cache, on a busy
machine, and nothing is left undone for want of time, as the product would leave it after half a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GRIDS: dict[str, tuple[str, str, dict[str, list[Any]]]] = {
    "tiny-bert, full": ("tiny-bert", "full", {
        "batch": [8, 4, 2, 1], "recompute_first": [0, 1, 2, 3], "bit_masks": [False, True],
        "saved": ["as-is", "bf16", "int8"], "weights": ["as-loaded", "bf16"], "update_in_backward": [False, True],
    }),
    "tiny-llama, lora": ("tiny-llama", "lora", {
        "batch": [8, 4, 2, 1], "recompute_first": [0, 1, 2, 3], "saved": ["as-is", "int8"],
        "weights": ["as-loaded", "frozen-bf16", "bf16"], "r": [8, 4, 2, 1],
    }),
}  # fmt: skip
SHARES = (0.25, 0.4, 0.6, 0.8)  #: budgets, as shares of the peak with nothing changed
SEEDS = range(5)


def compared(name: str) -> list[dict[str, Any]]:
    """One row for each budget of one grid."""
    from workbench.case import Case
    from workbench.core.errors import BudgetExceeded
    from workbench.core.profile import Tier
    from workbench.devices.model import get
    from workbench.plan.candidates import Search
    from workbench.plan.choice import Choice
    from workbench.plan.planner import plan

    model, method, grid = GRIDS[name]
    base, device = Case("tokens", model, method, 8, 64), get("raspberry-pi-4")
    peak, rows = base.predict(Tier.FAKE).peak, []
    timed: dict[float, tuple[float, Any]] = {}
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PINTPOT_CACHE"] = folder
            start = time.perf_counter()
            try:
                found = plan(base, device, int(peak * share), grid=grid, tier=Tier.FAKE, patience=math.inf)
            except BudgetExceeded:
                found = None
            timed[share] = time.perf_counter() - start, found
            del os.environ["PINTPOT_CACHE"]
    whole = Search(base, device, 2**62, grid, None, Tier.FAKE)
    whole.look(whole=True)
    speeds, peaks = whole.speeds(), whole.peaks()
    for share in SHARES:
        whole.budget = int(peak * share)
        best = Choice(whole).best()
        seconds, found = timed[share]
        row = {"grid": name, "budget": f"{share:.0%}", "settings": len(whole.sized), "seconds": round(seconds, 1)}
        if best is not None and found is not None:
            place = _place(whole, found.case)
            row |= {"sized": found.sized // len(whole.batches), "speed": float(speeds[place]) / best[0].speed}
            row["optuna"] = statistics.median(_optuna(whole, peaks, speeds, best[0].speed, seed) for seed in SEEDS)
        rows.append(row)
    return rows


def _place(search: Any, case: Any) -> tuple[int, ...]:
    """Where a case stands in the arrays of a search."""
    for place in itertools.product(*(range(len(v)) for v in search.values)):
        for i, batch in enumerate(search.batches):
            if search.case(place, batch) == case:
                return (*place, i)
    raise LookupError(case)


def _optuna(search: Any, peaks: Any, speeds: Any, best: float, seed: int) -> float:
    """How many distinct sets of settings TPE looks at until it holds a plan within a tenth of the best."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, constraints_func=lambda t: t.user_attrs["over"])
    study, looked = optuna.create_study(direction="maximize", sampler=sampler), set()
    for _ in range(600):
        trial = study.ask()
        place = tuple(trial.suggest_int(name, 0, len(v) - 1) for name, v in zip(search.axes, search.values))
        index = (*place, trial.suggest_int("batch", 0, len(search.batches) - 1))
        looked.add(place)
        known = not math.isnan(peaks[index])
        trial.set_user_attr("over", [float(peaks[index] - search.budget) if known else 1e12])
        study.tell(trial, float(speeds[index]) if known else 0.0)
        if known and peaks[index] <= search.budget and speeds[index] >= 0.9 * best:
            return len(looked)
    return math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="grids whose name contains this")
    given = parser.parse_args()
    results = ROOT / "benchmarks" / "results" / "planner.json"
    for name in GRIDS:
        if given.only in name:
            rows = json.loads(results.read_text()) if results.exists() else []
            rows = [row for row in rows if row["grid"] in GRIDS and row["grid"] != name] + compared(name)
            rows.sort(key=lambda row: list(GRIDS).index(row["grid"]))
            results.write_text(json.dumps(rows, indent=1) + "\n")
            write(rows)


def write(rows: list[dict[str, Any]]) -> None:
    """The page of the documentation."""
    text = (__doc__ or "").strip().split("\n")
    head = ("grid", "budget, of the plain peak", "settings", "sized by the planner", "its speed, of the best",
            "seconds, cold", "sized by TPE to 90 %")  # fmt: skip
    cells = [
        (r["grid"], r["budget"], str(r["settings"]), str(r.get("sized", "–")),
         f"{r['speed']:.1%}" if "speed" in r else "nothing fits", f"{r['seconds']}", f"{r.get('optuna', '–')}")
        for r in rows
    ]  # fmt: skip
    lines = ["# The planner\n", text[0], "\nWritten by\n", "```", text[2].strip(), "```\n", *text[4:], ""]
    lines += [f"| {' | '.join(c)} |" for c in (head, ("---",) * len(head), *cells)]
    (ROOT / "docs" / "planner.md").write_text("\n".join(lines) + "\n")
    for line in cells:
        print(*line, sep="  ")


if __name__ == "__main__":
    main()
