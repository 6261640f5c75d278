"""How long the fit explorer and the planner take: cold, cached, and for each change; and how near the best plan is.

Prints one table. Every cold and cached time is a process of its own with a cache of its own, wall clock, so run it
on a quiet machine. The planner's distance is against exhaustive search with every candidate predicted.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

TASK, MODEL, DEVICE = "movie-sentiment", "minilm", "raspberry-pi-4"
PINTPOT = (sys.executable, "-W", "ignore", "-c", "from workbench.cli import main; main()")
#: Evaluates the explorer's module on its data as the browser does, without drawing.
NODE = """
const fs = require("fs");
const code = fs.readFileSync(process.argv[1], "utf8").replace(/export default [^;]*;/, "");
const info = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const judge = new Function("info", code + `;
  const times = [];
  for (let i = 0; i < 60; i++) {
    const batch = 1 + i % 40, length = 8 + i, start = performance.now();
    const budget = info.budget / (1 + i % 3);
    for (const m of info.methods) verdict(reshaped(m, info, batch, length), info, budget, batch, length);
    times.push(performance.now() - start);
  }
  return times;`);
const times = judge(info).sort((a, b) => a - b);
console.log(JSON.stringify([times[30] / 1000, times[59] / 1000]));
"""


def timed(*words: str, cache: Path) -> float:
    """Wall seconds of one command."""
    start = time.perf_counter()
    done = subprocess.run(
        [*PINTPOT, *words], env={**os.environ, "PINTPOT_CACHE": str(cache)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def assets_into(cache: Path) -> None:
    """Models and data are no part of an answer: link those that are there."""
    from workbench.core import paths

    for name in ("assets", "devices"):
        if (place := paths.cache() / name).exists():
            (cache / name).symlink_to(place)


def commands() -> list[tuple[str, float]]:
    where = ("--task", TASK, "--model", MODEL, "--device", DEVICE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        assets_into(cache)
        rows.append(("all methods, cold", timed("fit", *where, "--budget", "256MiB", cache=cache)))
        rows.append(("all methods, cached", timed("fit", *where, "--budget", "256MiB", cache=cache)))
        rows.append(("plan for full, warm probes", timed("plan", *where, "--budget", "200MiB", cache=cache)))
        rows.append(("the same plan again", timed("plan", *where, "--budget", "200MiB", cache=cache)))
    return rows


def changes() -> list[tuple[str, float]]:
    """Seconds of one change of budget, batch or length over all methods, in Python and in the browser's engine."""
    import workbench
    from workbench import figures

    bench = workbench.open(task=TASK, model=MODEL, device=DEVICE, budget="256 MiB")
    table = bench.fit_table()
    taken = []
    for i in range(60):
        start = time.perf_counter()
        table.at(bench.budget // (1 + i % 3), 1 + i % 40, 8 + i)
        taken.append(time.perf_counter() - start)
    rows = [("one change in Python, median", median(taken)), ("one change in Python, worst of 60", max(taken))]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "info.json"
        data.write_text(json.dumps(figures.fit_table(table, bench.budget).data()))
        module = Path(__file__).parents[1] / "widgets" / "static" / "fit.js"
        done = subprocess.run(["node", "-e", NODE, str(module), str(data)], capture_output=True, text=True, check=True)
        middle, worst = json.loads(done.stdout)
        rows += [("one change in JavaScript, median", middle), ("one change in JavaScript, worst of 60", worst)]
        print(f"data of the panel: {data.stat().st_size / 1e3:.0f} kB for {len(table.methods)} methods")
    return rows


def distances() -> None:
    """Throughput of the plan over that of exhaustive search with exact predictions, on small grids."""
    from workbench.case import Case
    from workbench.core.profile import Tier
    from workbench.devices.model import get
    from workbench.plan.planner import plan
    from workbench.plan.verdict import on_device

    device = get(DEVICE)
    base = Case("tokens", "tiny-bert", "full", 8, 16)
    grid = {"batch": [8, 4, 2, 1], "recompute": [0, 1], "optimizer": ["adamw", "sgd"]}
    peak = base.predict(Tier.FAKE).peak
    for share in (0.45, 0.6, 0.8, 1.0):
        budget = int(peak * share)
        best = 0.0
        for batch in grid["batch"]:
            for recompute in grid["recompute"]:
                for optimizer in grid["optimizer"]:
                    settings = {"recompute": recompute, "optimizer": optimizer}
                    case = replace(base, batch=batch, accumulate=math.ceil(8 / batch), settings=settings)
                    if case.predict(Tier.FAKE).peak <= budget:
                        best = max(best, 8 / (on_device(case, device)[0].value or math.inf))
        start = time.perf_counter()
        found = plan(base, device, budget, grid=grid, tier=Tier.FAKE)
        taken = time.perf_counter() - start
        ratio = (found.throughput.value or 0.0) / best
        print(f"budget {share:.0%}: {ratio:.3f} of exhaustive search, {found.verified} predictions, {taken:.2f} s")


def main() -> None:
    for name, seconds in [*commands(), *changes()]:
        print(f"{name:40s} {seconds:8.3f} s")
    distances()


if __name__ == "__main__":
    main()
