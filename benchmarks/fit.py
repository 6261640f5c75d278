"""How long answers take: fit explorer and planner, cold and cached, one change of a slider, and models of 7B and 70B.

    OMP_NUM_THREADS=1 python benchmarks/fit.py [--only answers,changes,llama-2-7b,llama-3-70b]

Commands are whole processes, from the shell's point of view: wall seconds, and the CPU seconds of the process and its
children. *Cold* means an empty cache (assets are there, probes and predictions are not), *cached* the same command
again, after the search for ways out has ended. A change is a new budget, batch and length over all methods, in
Python and in the panel's own code. Large models are known by their shapes alone, batch 1, 512 tokens, formula tier.
Each row is written when it is there and a part stays on the page until it is run again; the load is the mean number of
processes that wanted a core in the minute before, and CPU times, too, are longer on a busy machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "fit.json", ROOT / "docs" / "fit.md"
TASK, MODEL, DEVICE = "movie-sentiment", "minilm", "raspberry-pi-4"
PINTPOT = (sys.executable, "-W", "ignore", "-c", "from workbench.cli import main; main()")
ANSWERS = {"all methods, cold": 30.0, "all methods, cached": 2.0}  #: wall seconds aimed at
LARGE = {"llama-2-7b": 5.0, "llama-3-70b": 15.0}  #: CPU seconds aimed at
WAYS: dict[str, tuple[str, ...]] = {
    "full": ("full",), "lora": ("lora",), "lora, checkpointing": ("lora", "--set", "recompute=1"),
    "lora, NF4 base": ("lora", "--set", "weights=nf4"), "sparse-update": ("sparse-update",), "mezo": ("mezo",),
}  # fmt: skip
LIMIT = 240.0  #: wall seconds after which a command is stopped
CHANGE = 0.05  #: wall seconds aimed at for one change
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
    for (const m of info.methods) {
      verdict(reshaped(m, info, info.devices[0], batch, length), info, budget, batch, length);
    }
    times.push(performance.now() - start);
  }
  return times;`);
const times = judge(info).sort((a, b) => a - b);
console.log(JSON.stringify([times[30] / 1000, times[59] / 1000]));
"""


Row = dict[str, Any]


def command(what: str, *words: str, cache: Path) -> Row:
    """One command in a process of its own. Raises ``SystemExit`` with what it said when it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PINTPOT_CACHE": str(cache)}
    try:
        done = subprocess.run(
            [*PINTPOT, *words], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return {"what": what, "stopped": LIMIT}
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"what": what, "wall": wall, "cpu": cpu, "said": done.stdout}


def assets_into(cache: Path) -> None:
    """Models and data are no part of an answer: link those that are there."""
    from workbench.core import paths

    for name in ("assets", "devices"):
        if (place := paths.cache() / name).exists():
            (cache / name).symlink_to(place)


def answers() -> Iterator[Row]:
    where = ("--task", TASK, "--model", MODEL, "--device", DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        assets_into(cache)
        ask = ("fit", *where, "--budget", "256MiB")
        yield command("all methods, cold", *ask, cache=cache)
        for _ in range(8):  # a search that the clock ended goes on
            said = command("", *ask, cache=cache)["said"]
            if not any(words in said for words in ("stopped after", "no time was left", "only fitted")):
                break
        yield command("all methods, cached", *ask, cache=cache)
        plan = ("plan", *where, "--budget", "320MiB")
        yield command("plan for full tuning, probes known", *plan, cache=cache)
        yield command("the same plan again", *plan, cache=cache)


def large(model: str) -> Iterator[Row]:
    """Predictions of a model known by its shapes, each in a cache of its own."""
    for way, (method, *settings) in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            words = ("predict", "--model", model, "--method", method, *settings, "--batch", "1", "--length", "512")
            row = command(f"{model}, {way}", *words, "--json", cache=Path(folder))
        if "said" in row:
            said = json.loads(row["said"])
            row["peak"] = (said.get("predicted") or said)["peak"]
        yield row


def changes() -> Iterator[Row]:
    """One change of budget, batch or length over all methods, in Python and in the browser's engine."""
    import workbench
    from workbench import figures

    bench = workbench.open(task=TASK, model=MODEL, device=DEVICE, budget="256 MiB")
    table = bench.fit_table()
    taken = []
    for i in range(60):
        start = time.perf_counter()
        table.at(bench.budget // (1 + i % 3), 1 + i % 40, 8 + i)
        taken.append(time.perf_counter() - start)
    yield {
        "what": f"one change over {len(table.methods)} methods in Python",
        "wall": median(taken),
        "worst": max(taken),
    }
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "info.json"
        data.write_text(json.dumps(figures.fit_table(table, bench.budget).data()))
        module = ROOT / "widgets" / "static" / "fit.js"
        done = subprocess.run(["node", "-e", NODE, str(module), str(data)], capture_output=True, text=True, check=True)
    middle, worst = json.loads(done.stdout)
    yield {"what": "the same change in the panel's JavaScript", "wall": middle, "worst": worst}


def aim(row: Row) -> str:
    """What was aimed at, and whether it was met."""
    model = row["what"].partition(",")[0]
    if "stopped" in row:
        return f"stopped after {row['stopped']:g} s"
    if "worst" in row:
        got, wanted, unit = row["worst"], CHANGE, "wall s"
    elif model in LARGE:
        got, wanted, unit = row["cpu"], LARGE[model], "CPU s"
    elif row["what"] in ANSWERS:
        got, wanted, unit = row["wall"], ANSWERS[row["what"]], "wall s"
    else:
        return "-"
    return f"{wanted:g} {unit}: {'met' if got <= wanted else 'missed'}"


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "answers": answers, "changes": changes, **{model: functools.partial(large, model) for model in LARGE},
}  # fmt: skip


def page(parts: dict[str, Any]) -> str:
    lines = ["# How long answers take", "", *(__doc__ or "").strip().split("\n")[4:], ""]
    lines += ["Written by `OMP_NUM_THREADS=1 python benchmarks/fit.py`; do not edit."]
    for name in filter(parts.get, PARTS):
        host, load, made = (parts[name][key] for key in ("host", "load", "made"))
        lines += ["", f"## {name}", "", f"Measured {made}, {host['cores']} cores ({host['processor']}), load"]
        lines += [f"{load[0]} at the start, {load[1]} at the end.", ""]
        lines += ["| what | wall s | CPU s | worst of 60, s | predicted peak | aim |", "|---|---|---|---|---|---|"]
        lines += map(_line, parts[name]["rows"])
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cpu = f"{row['cpu']:.1f}" if "cpu" in row else "-"
    worst = f"{row['worst']:.4f}" if "worst" in row else "-"
    peak = f"{row['peak'] / 1e9:.2f} GB" if "peak" in row else "-"
    wall = "-" if "wall" not in row else f"{row['wall']:.1f}" if row["wall"] > 0.1 else f"{row['wall']:.4f}"
    return f"| {row['what']} | {wall} | {cpu} | {worst} | {peak} | {aim(row)} |"


def main() -> None:
    from workbench.environment import environment, now

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parts: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in parser.parse_args().only.split(","):
        began, rows = round(os.getloadavg()[0], 1), []
        for row in PARTS[name]():
            row.pop("said", None)
            print(row, flush=True)
            rows.append(row)
            load = [began, round(os.getloadavg()[0], 1)]
            parts[name] = {"made": now(), "host": environment(), "load": load, "rows": rows}
            RESULTS.write_text(json.dumps(parts, indent=1) + "\n")
            PAGE.write_text(page(parts))


if __name__ == "__main__":
    main()
