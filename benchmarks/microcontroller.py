"""Planned steps of integer nets, and what the arms learned; stores them and writes ``docs/microcontroller.md``.

    OMP_NUM_THREADS=1 python benchmarks/microcontroller.py [--part PART] [--profile PROFILE] [--page]

Parts are ``plans`` (exact and instant), ``arms``, ``ratios``, ``gains``, ``bytes``, ``biases`` and ``example``. Scores
come from runs of the microcontroller page; finished ones are kept. ``bytes`` asks about the scheme of ``gains``,
``biases`` takes the rates that ``bytes`` chose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import microcontroller_page as report

import workbench as wb
from workbench import figures, progress
from workbench.devices import get
from workbench.environment import environment, now
from workbench.studies import microcontroller as micro
from workbench.studies.byte_arms import BIASES, RATES, byte_arms
from workbench.studies.contribution import search_bytes
from workbench.studies.norm_ratios import norm_ratios
from workbench.studies.tuned_arms import tuned_arms

RESULTS = Path(__file__).resolve().parent / "results" / "microcontroller.json"
DEVICE, BUDGET = "stm32f746", 256 * 1024
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/microcontroller.py"
SEARCHED = (32 * 1024, 64 * 1024, BUDGET // 2)  #: budgets of the search; the last one is above all that it may choose
NETS = ("mcu-watch", "mcu-net", "efficientnet-lite0")


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    return found


def part_plans(_: micro.Preset) -> dict[str, Any]:
    """What fits, what waits when updates wait, and the sparse step of the larger small net line by line."""
    benches = {net: wb.open("pixels", net, DEVICE, "64 GiB", batch=1) for net in NETS}
    plans, order = micro.plans(benches), figures.planned_order(micro.both_orders(benches))
    sparse = plans["mcu-net, sparse"]
    return {
        "steps": [
            {"step": label, "refusal": plan.refusal(get(DEVICE), BUDGET), "sram": plan.sram, "arena": plan.arena,
             "flash": plan.flash_bytes}
            for label, plan in plans.items()
        ],
        "orders": [
            {"step": pair.way, "peaks": [line.peak for line in pair.lines],
             "gradients": [line.most_gradients for line in pair.lines]}
            for pair in order.pairs
        ],
        "lines": [{"label": line.label, "kind": line.kind, "size": line.size} for line in sparse.ledger()],
        "fullest": sparse.instructions[sparse.peak_instruction],
    }  # fmt: skip


def part_arms(preset: micro.Preset) -> list[dict[str, Any]]:
    """Every arm of the paper at the best of its own rates."""
    bench = micro.bench_for(preset, DEVICE)
    with progress.names("runs", None) as tell:
        arms = tuned_arms(bench, micro.METHOD, micro.arms(preset), micro.grids(preset), preset.seeds, progress=tell)
    rows = figures.tuned_table(arms).rows
    return [
        {"label": a.label, "lr": a.lr, "losses": _losses(a.losses), "scores": list(a.scores),
         **{name: row.get(name) for name in ("weights", "state", "saved", "error")}}
        for a, row in zip(arms, rows)
    ]  # fmt: skip


def part_ratios(preset: micro.Preset) -> dict[str, Any]:
    """How large each weight is beside its gradient, by layer, of each curve."""
    return {"curves": [asdict(curve) for curve in norm_ratios(micro.bench_for(preset, DEVICE))]}


def part_gains(preset: micro.Preset) -> dict[str, Any]:
    """What each tensor of the preset's lists wins, by seed, and the schemes a search makes of it within budgets."""
    bench = micro.bench_for(preset, DEVICE)
    with progress.names("runs", None) as tell:
        arms = tuned_arms(bench, micro.METHOD, micro.arms(preset), micro.grids(preset), preset.seeds, progress=tell)
        found = micro.gains(bench, preset, arms, progress=tell)
    schemes = {budget: search_bytes(bench, found, budget, trials=120) for budget in SEARCHED}
    scheme = schemes[SEARCHED[-1]]
    table = figures.contribution_table(found, scheme)
    rows = [
        {**row, "over": over, "scores": scores} for row, (scores, over) in zip(table.rows, found.pairs(), strict=True)
    ]
    searches = [{"budget": b, "sram": s.sram, **s.settings, "tried": s.tried} for b, s in schemes.items()]
    return {"rows": rows, "caption": table.caption, "scheme": scheme.settings, "searches": searches}


def part_biases(preset: micro.Preset) -> list[dict[str, Any]]:
    """The head alone and the last biases as ``gains`` scores them, but each at its own rate of ``bytes``."""
    chosen_by, rows = micro.bench_for(preset, DEVICE).validating(preset.validation), []
    for row in results()["parts"]["bytes"]["found"]["rows"]:
        if row["family"] == BIASES:
            count = 0 if row["label"] == "head alone" else int(row["label"].split()[0])
            runs = [chosen_by.run(micro.METHOD, seed, biases=count, update="", lr=row["lr"]) for seed in preset.seeds]
            rows.append({"biases": count, "lr": row["lr"], "scores": [r.score["value"] for r in runs]})
    return rows


def part_bytes(preset: micro.Preset) -> dict[str, Any]:
    """What further bytes of SRAM buy, by family of schemes; the searched ones beside the one written by hand."""
    bench, found = micro.bench_for(preset, DEVICE), results()["parts"]["gains"]["found"]
    within = {
        f"searched, {one['budget'] // 1024} KiB": {name: one[name] for name in ("biases", "update")}
        for one in found["searches"][:-1]
    }
    schemes = {"searched": found["scheme"], **within, "by hand": micro.SCHEMES["sparse"]}
    asked = {"counts": preset.biases, "rates": micro.fewer(preset, RATES)}
    with progress.names("runs", None) as tell:
        arms = byte_arms(bench, schemes, preset.seeds, progress=tell, **asked)
    by_label, rows = {a.label: a for a in arms}, []
    for line in figures.extra_bytes(arms).lines:
        for p in line.points:
            one = by_label[p.label]
            known = {"losses": _losses(one.losses), "scores": list(one.scores)}
            rows.append({"family": line.group, **vars(p), **known})
    return {"rows": rows}


def part_example(preset: micro.Preset) -> list[dict[str, Any]]:
    """What one example a step teaches, on the watch and on pictures."""
    bench = micro.bench_for(preset, DEVICE)
    benches = [micro.on_device(bench, preset.device_steps), micro.pictures_bench(preset, DEVICE)]
    arms = micro.learned(benches, preset.seeds, micro.fewer(preset, micro.RATES))
    return [
        {"task": a.group, "label": a.label, "lr": a.lr, "losses": _losses(a.losses), "scores": list(a.scores),
         "sram": a.sram, "trained": a.records[0].trainable}
        for a in arms
    ]  # fmt: skip


def _losses(losses: Mapping[float, float | None]) -> dict[str, float | None]:
    return {f"{rate:g}": loss for rate, loss in losses.items()}


PARTS = {
    "plans": part_plans, "arms": part_arms, "ratios": part_ratios, "gains": part_gains, "bytes": part_bytes,
    "biases": part_biases, "example": part_example,
}  # fmt: skip


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="standard", help="preset of the microcontroller page")
    parser.add_argument("--part", action="append", choices=tuple(PARTS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args(given)
    for name in () if asked.page else asked.part or PARTS:
        found, stored = PARTS[name](micro.preset(asked.profile)), results()
        stored["parts"][name] = {"when": now(), "command": f"{COMMAND} --part {name}", "found": found}
        RESULTS.write_text(json.dumps(stored | {"host": environment()}, indent=1, default=str) + "\n")
        print(f"{name}: done", flush=True)
    report.write(results())


if __name__ == "__main__":
    main()
