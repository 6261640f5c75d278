"""The planned arena against malloc: packing, misses, speed and the process's resident size.

    OMP_NUM_THREADS=1 python benchmarks/arena.py

Speed: CPU time of a step, planned and plain steps in turn, the fastest of each. Resident size: a fresh process
per case and variant; the highest size above the baseline, less what the step needs (the counting allocator's
peak, weights and optimizer state included). The baseline is the same process after two steps of the method on a
tiny model of the same family, so that the libraries' code is resident; the size above a process that has only
imported them is given too. Planned steps are watched after the two steps that make the plan, which malloc serves.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workbench.case import Case

ROOT = Path(__file__).resolve().parents[1]
CASES = (
    ("tokens", "minilm", "full", 8, 128),
    ("tokens", "minilm", "last-blocks", 8, 128),
    ("tokens", "minilm", "lora", 8, 128),
    ("tokens", "minilm", "mezo", 8, 128),
    ("tokens", "smollm2", "lora", 1, 48),
    ("tokens", "smollm2", "last-blocks", 1, 48),
    ("pixels", "efficientnet-lite0", "full", 8, 96),
    ("pixels", "efficientnet-lite0", "last-blocks", 8, 96),
    ("pixels", "efficientnet-lite0", "mezo", 8, 96),
    ("pixels", "dinov2-small", "full", 4, 70),
)
TINY = {"minilm": "tiny-bert", "smollm2": "tiny-llama", "efficientnet-lite0": "tiny-cnn", "dinov2-small": "tiny-vit"}


def speed(case: Case, repeats: int) -> dict[str, Any]:
    """Packing, misses, and the fastest CPU seconds of planned and plain steps taken in turn."""
    from workbench.memory import arena

    step, batch = case.step(case.attached(weights=False)), case.example()
    best = {"planned": float("inf"), "plain": float("inf")}
    with arena.planned(step, batch) as used:
        for _ in range(repeats):
            for variant, run in (("planned", used.step), ("plain", step)):
                start = time.process_time()
                run(batch)
                best[variant] = min(best[variant], time.process_time() - start)
        assert used.plan is not None
        return {
            "allocations": len(used.plan.sizes), "escaping": used.plan.escaping, "order": used.plan.order,
            "size": used.size, "max live": used.max_live, "served": used.served, "misses": used.misses,
            "planned seconds": best["planned"], "plain seconds": best["plain"],
        }  # fmt: skip


def resident(case: Case, planned: bool, steps: int = 4) -> dict[str, int]:
    """Bytes above the baseline at the highest, and the bytes of torch memory that the steps needed."""
    import peft  # noqa: F401
    import transformers  # noqa: F401

    from workbench.memory import arena, ledger

    imported = _status("VmRSS")
    tiny = Case(case.task_name, TINY[case.model_name], case.method_name, 2)
    step, batch = tiny.step(tiny.attached(weights=False)), tiny.example()
    for _ in range(2):
        step(batch)
    del step, batch
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    baseline = _status("VmRSS")
    with ledger.counting() as count:
        step, batch = case.step(case.attached(weights=False)), case.example()
        if planned:
            with arena.planned(step, batch) as used:
                planning = _status("VmHWM") - baseline
                Path("/proc/self/clear_refs").write_text("5")  # the highest size is counted anew from here
                for _ in range(steps):
                    used.step(batch)
                highest = _status("VmHWM") - baseline
                misses = used.misses
        else:
            for _ in range(steps + 2):
                step(batch)
            highest, planning, misses = _status("VmHWM") - baseline, 0, 0
    above = {"highest": highest, "highest above imports": highest + baseline - imported, "while planning": planning}
    return {**above, "need": count.peak, "misses": misses}


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _asked(part: str, given: tuple[Any, ...], repeats: int) -> Any:
    command = [sys.executable, __file__, "--part", part, "--case", json.dumps(given), "--repeats", str(repeats)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def collected(given: tuple[Any, ...], repeats: int) -> dict[str, Any]:
    row: dict[str, Any] = {"case": f"{given[1]} {given[2]} {given[3]}x{given[4]}"}
    row |= _asked("speed", given, repeats)
    for variant in ("planned", "malloc"):
        row[f"resident {variant}"] = _asked(variant, given, repeats)
    return row


HEAD = (
    "case", "allocations", "misses", "arena / max live", "speed over malloc", "need, MB", "resident - need, arena, MB",
    "same, malloc, MB", "same, arena, above imports, MB",
)  # fmt: skip


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    arena, malloc = row["resident planned"], row["resident malloc"]
    return (
        row["case"],
        f"{row['allocations']:,}",
        f"{row['misses'] + arena['misses']}",
        f"{row['size'] / row['max live']:.4f}",
        f"{row['plain seconds'] / row['planned seconds']:.2f}x",
        f"{arena['need'] / 1e6:.0f}",
        f"{(arena['highest'] - arena['need']) / 1e6:+.0f}",
        f"{(malloc['highest'] - malloc['need']) / 1e6:+.0f}",
        f"{(arena['highest above imports'] - arena['need']) / 1e6:+.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--part", choices=("speed", "planned", "malloc"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        case = Case(*json.loads(given.case))
        found = speed(case, given.repeats) if given.part == "speed" else resident(case, given.part == "planned")
        print(json.dumps(found))
        return
    for chosen in CASES:
        if given.only in f"{chosen[1]} {chosen[2]}":
            row = collected(chosen, given.repeats)
            print(dict(zip(HEAD, cells(row))), flush=True)
            keep(row)


def keep(row: dict[str, Any]) -> None:
    """Put a row into the results in place of the case's older one, and write the page anew."""
    store = ROOT / "benchmarks" / "results" / "arena.json"
    store.parent.mkdir(exist_ok=True)
    rows = {r["case"]: r for r in json.loads(store.read_text())} if store.exists() else {}
    rows[row["case"]] = row
    store.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    text = (__doc__ or "").strip().split("\n")
    lines = ["# The planned arena against malloc\n", "Written by", "\n```", text[2].strip(), "```\n", *text[4:], ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    lines += [f"| {' | '.join(cells(r))} |" for r in rows.values()]
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "arena.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
