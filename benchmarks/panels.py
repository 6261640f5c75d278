"""How soon a panel follows the hand, how soon a run stops, and how large modules and pages are.

    OMP_NUM_THREADS=1 python benchmarks/panels.py [--quick] [--only drawing|cancel|sizes] [--repeats N]

*Drawing*: each module stands alone on a page of a headless Chromium, as in a front end. Milliseconds go from the event
of a slider, toggle or choice until the browser has laid the new drawing out; painting comes with the next frame and is
not in them. All events are gone through three times and the fastest of each is kept, as other jobs share the machine.
The fit explorer shows every method on tiny-bert, from sizes of the library; what the other panels show is invented,
since only the drawing is timed. *Cancel*: a real training from the request until its record is stored and given back,
stopped at moments spread over what is named: a step (which is given up unless it has begun to update; how long it takes
stands beside), the scoring of the result, and the seconds before the first step, whose prediction is new each time.
*Sizes*: browser modules as they are shipped, and the pages in `reports/example`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from workbench import figures
from workbench.core.errors import Interrupted
from workbench.core.profile import Tier
from workbench.environment import environment, now
from workbench.records.schema import State
from workbench.report import page as assets

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "panels.json"
PAGE = ROOT / "docs" / "panels.md"
AIMS = {"drawing": 100.0, "cancel": 500.0, "module": 20 * 1024, "page": 300_000}  #: milliseconds, bytes
MIB = 2**20

#: What a front end gives a module: a model with one value, and a place to draw.
HOST = """(info) => {
  const state = { info }, el = document.body.appendChild(document.createElement('div'));
  window.model = { get: (k) => state[k], set: (k, v) => { state[k] = v; }, on() {}, off() {}, save_changes() {},
    send() {} };
  window.host = el;
  MODULE.render({ model: window.model, el });
}"""
#: Milliseconds of each of so many events, the layout that they ask for included: the fastest of three rounds.
TIMED = """([repeats, change]) => {
  const act = new Function('i', change), spent = [];
  for (let round = 0; round < 3; round++) for (let i = 0; i < repeats; i++) {
    const began = performance.now();
    act(i);
    host.getBoundingClientRect();
    spent[i] = Math.min(spent[i] ?? Infinity, performance.now() - began);
  }
  return spent;
}"""
SLIDE = """const s = host.querySelector('input[type=range]'), n = 97;
  s.value = Number(s.min) + (Number(s.max) - Number(s.min)) * ((i * 37) % n) / n;
  s.dispatchEvent(new Event('input'));"""
TOGGLE = "const r = host.querySelectorAll('input[type=radio]'); r[(i + 1) % 2].click();"
CHOOSE = """const s = [...host.querySelectorAll('select')].find((e) => e.labels[0]?.textContent.startsWith('LABEL'));
  s.selectedIndex = (s.selectedIndex + 1) % s.options.length; s.dispatchEvent(new Event('change'));"""


class Drawn(NamedTuple):
    """A module with what it shows, what is set once, and what is done again and again."""

    label: str
    module: str
    info: Any
    once: str
    change: str


def drawn(quick: bool) -> Iterator[Drawn]:
    sys.path.insert(0, str(ROOT / "tests" / "figures"))
    import synthetic

    from workbench.devices.model import get
    from workbench.plan.fit_table import fit_table
    from workbench.plan.verdict import cases_for
    from workbench.records.grid import GridPoint

    names = ("full", "lora", "mezo") if quick else ()
    table = fit_table(
        cases_for("tokens", "tiny-bert", names, batch=8, length=16), get("raspberry-pi-4"), tier=Tier.FAKE
    )
    fit = figures.fit_table(table, 4 * MIB)
    many = f"{len(table.methods)} methods"
    million = """const inputs = [...host.querySelectorAll('input')];
      const b = inputs.find((e) => e.labels[0]?.textContent.startsWith('Batch'));
      b.value = 1000000; b.dispatchEvent(new Event('input'));"""
    yield Drawn(f"FitExplorer, {many}: budget", "fit", fit, "", SLIDE)
    yield Drawn(f"FitExplorer, {many}, batch of a million: budget", "fit", fit, million, SLIDE)
    deep = figures.saved_map(synthetic.saved_map(layers=80))
    yield Drawn("SavedMap, 80 layers: what trains", "saved_map", deep, "", TOGGLE)
    step = figures.one_step(synthetic.profile("full", Tier.MEASURED), "full", budget=300 * MIB)
    yield Drawn("MemoryTimeline, 240 moments: moment", "timeline", step, "", SLIDE)
    runs = [synthetic.run(m, s) for m in ("lora", "bias", "head", "mezo") for s in range(12)]
    yield Drawn(f"Pareto, {len(runs)} runs: axis", "pareto", figures.pareto(runs), "", CHOOSE.replace("LABEL", "Up"))
    points = [GridPoint({"method": m, "r": r}, s, synthetic.run(m, s))
              for m in ("lora", "bias", "full") for r in (2, 4, 8, 16) for s in range(3)]  # fmt: skip
    plot = CHOOSE.replace("LABEL", "Show as")
    grid = figures.grid(points, 200 * MIB, live=True)
    yield Drawn("AblationGrid, 12 cells: axis", "grid", grid, plot, CHOOSE.replace("LABEL", "Up"))


def drawing(quick: bool, repeats: int) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("no chromium on the path: apt-get install chromium")
    rows = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1100, "height": 900})
        for one in drawn(quick):
            page.set_content(f"<!doctype html><title>{one.module}</title><style>{assets.style()}</style>")
            module = HOST.replace("MODULE", assets.as_expression(assets.modules()[one.module]))
            page.evaluate(module, json.loads(json.dumps(one.info.data())))
            if one.once:
                page.evaluate(TIMED, [1, one.once])
            before = page.evaluate("host.innerHTML")
            page.evaluate(TIMED, [1, one.change])
            if page.evaluate("host.innerHTML") == before:
                raise SystemExit(f"{one.label}: nothing was drawn anew, so there is nothing to time")
            spent = page.evaluate(TIMED, [repeats, one.change])
            rows.append(summary(one.label, spent))
        version = chromium.version
        chromium.close()
    return [{**row, "browser": f"Chromium {version}"} for row in rows]


def summary(label: str, milliseconds: list[float]) -> dict[str, Any]:
    typical, worst = (round(f(milliseconds), 2) for f in (median, max))
    print(f"{label}: {typical} ms, at most {worst}", flush=True)
    return {"what": label, "median_ms": typical, "worst_ms": worst, "times": len(milliseconds)}


#: Trainings that are cancelled, as task, model, method and how much is trained and scored.
TRAININGS = (
    ("digits", "tiny-cnn", "full", {"steps": 40}),
    ("movie-sentiment", "minilm", "lora", {"steps": 8, "test": 2000}),
    ("movie-sentiment", "minilm", "full", {"steps": 8, "test": 2000}),
    ("movie-sentiment", "minilm", "mezo", {"steps": 8, "test": 2000}),
)
IN_A_STEP, SCORING, BEFORE = "in a step", "while it is scored", "before the first step"
SECONDS = {SCORING: 1.0, BEFORE: 3.0}  #: over which moments are spread, where they are not over a step


def cancelling(quick: bool, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds from asking until the record lies in a store of its own, for every training and moment."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PINTPOT_RUNS"] = folder
        for training in TRAININGS[: 2 if quick else None]:
            for moment in (IN_A_STEP, SCORING, BEFORE):
                if moment != IN_A_STEP and training is not TRAININGS[1]:
                    continue  # what comes before and after the steps differs little between methods
                found = [cancelled(training, moment, number, repeats) for number in range(repeats)]
                _, model, method, _ = training
                row = summary(f"{method} on {model}, batch 16, {moment}", [spent for spent, _ in found])
                rows.append({**row, "step_ms": round(1e3 * median(step for _, step in found), 1)})
    return rows


def cancelled(training: tuple[Any, ...], moment: str, number: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of one cancelled run, and seconds of its third step (0 where it had none)."""
    import workbench as wb

    task, model, method, sizes = training
    bench = wb.open(task, model, budget="4GiB", batch=16 + (number if moment == BEFORE else 0), **sizes)
    cancel, asked, steps = threading.Event(), list[float](), [0.0]

    def ask() -> None:
        asked.append(time.perf_counter())
        cancel.set()

    def later(seconds: float) -> None:
        threading.Timer(seconds * (number + 0.5) / repeats, ask).start()

    def observe(progress: Any) -> None:
        if progress.step is None:
            return
        if progress.step.step == 3:
            steps[0] = progress.step.seconds
            if moment == IN_A_STEP:
                later(steps[0])
        if progress.step.step == progress.planned - 1 and moment == SCORING:
            later(SECONDS[SCORING])

    if moment == BEFORE:
        later(SECONDS[BEFORE])
    with suppress(Interrupted):
        bench.run(method, 1000 * repeats + number, observe=observe, cancel=cancel)
    spent = 1e3 * (time.perf_counter() - asked[0])
    kept = next(bench.store.records())
    if kept.state is not State.CANCELLED or not (kept.steps or moment == BEFORE):
        raise SystemExit(f"{model}, {method}, {moment}, {number}: not kept as cancelled: {kept.state}, {kept.reason}")
    return spent, steps[0]


def sizes() -> list[dict[str, Any]]:
    """Bytes of every module and of every page that is kept as an example."""
    modules = sorted((ROOT / "widgets" / "static").glob("*.js"))
    pages = sorted((ROOT / "reports" / "example").glob("*.html"))
    return [{"what": p.name, "kind": kind, "bytes": p.stat().st_size}
            for kind, found in (("module", modules), ("page", pages)) for p in found]  # fmt: skip


def page(stored: dict[str, Any]) -> list[str]:
    """The page as lines, from what is stored."""
    text = (__doc__ or "").strip().split("\n")
    host = ", ".join(f"{n} {v}" for n, v in stored["host"].items())
    lines = ["# Panels: time to redraw, time to cancel, bytes", "", text[0], "", "Written by", ""]
    lines += ["```", text[2].strip(), "```", "", *text[4:], ""]
    lines += [f"Host: {host}; {stored['drawing'][0]['browser']}. All measured: "]
    lines[-1] += "; ".join(f"{part} {when}" for part, when in stored["when"].items()) + "."
    lines += ["", "## From the hand to the drawing", "", *timed(stored["drawing"], "drawing")]
    lines += ["", "## From *Cancel* to the stored record", ""]
    lines += timed(stored["cancel"], "cancel", ("median step, ms", "step_ms"))
    for title, kind in (("Browser modules", "module"), ("Example pages", "page")):
        rows = [(r["what"], f"{r['bytes']:,}", met(r["bytes"], kind)) for r in stored["sizes"] if r["kind"] == kind]
        aim = f"at most {AIMS[kind]:,} bytes"
        lines += ["", f"## {title}", "", *table(("file", "bytes", f"{aim}"), rows)]
    return lines


def timed(rows: list[dict[str, Any]], aim: str, *more: tuple[str, str]) -> list[str]:
    head = ("what", "median, ms", "worst, ms", "times", *(m[0] for m in more), f"worst under {AIMS[aim]:g} ms")
    return table(head, [(r["what"], f"{r['median_ms']:g}", f"{r['worst_ms']:g}", str(r["times"]),
                         *(f"{r[m[1]]:g}" if r[m[1]] else "–" for m in more),
                         met(r["worst_ms"], aim)) for r in rows])  # fmt: skip


def met(value: float, aim: str) -> str:
    return "yes" if value <= AIMS[aim] else "**no**"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three methods, one training, few repeats, nothing stored")
    parser.add_argument("--only", default="", choices=["", "drawing", "cancel", "sizes", "page"], help="one part")
    parser.add_argument("--repeats", type=int, default=0, help="0: 100 drawings, 10 cancelled runs")
    chosen = parser.parse_args()
    quick, repeats = chosen.quick, chosen.repeats
    parts = {
        "drawing": lambda: drawing(quick, repeats or (5 if quick else 100)),
        "cancel": lambda: cancelling(quick, repeats or (2 if quick else 10)),
        "sizes": sizes,
    }
    found = {name: make() for name, make in parts.items() if chosen.only in ("", name)}
    if quick:
        return
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if found:
        when = {**stored.get("when", {}), **dict.fromkeys(found, now())}
        stored |= {"host": environment(), "when": when, "kinds": {"ms": "measured", "bytes": "measured"}, **found}
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text("\n".join(page(stored)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
