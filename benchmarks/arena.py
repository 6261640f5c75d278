"""The planned arena against malloc: packing, misses, speed and the process's resident size.

    OMP_NUM_THREADS=1 python benchmarks/arena.py [--missing]

Speed: CPU time of a step, planned and plain steps in turn, the fastest of each. What an arena saves is mostly page
faults, so their number in a plain step is given; a planned one has none.

Resident size: a fresh process per case and variant; the highest size of four steps above the baseline, less what
they need (what is live before them and the counting allocator's peak: weights, optimizer state, inputs and all that
comes and goes). Planned steps are watched after the two steps that make the plan, which malloc serves. The baseline
is the process once everything is imported; the excess above it is split by what the kernel and the C library say of
it. *Library pages* are file-backed: code of torch and others, shared between processes. Importing touches most of
them once, a step some others; when the plan is there they are given back, and what the steps use comes again, so
that a planned process may be smaller than the bare imports. *Malloc* is the same without a plan, and keeps them.
*Anonymous* is the rest of the excess, the process's own memory: of it, *C++ objects* are blocks of malloc in use
that are no tensors (graph nodes, kernels' plans), *Python* the interpreter's arenas, and *rest* what is resident
without being in use, rounding to pages, and stacks; a negative rest is weights that are not touched. *Warm* is the
whole excess above the same process after two steps of the method on a tiny model of the same family.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from workbench.case import Case

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "benchmarks" / "results" / "arena.json"
CASES = (
    ("tokens", "minilm", "full", 8, 128),
    ("tokens", "minilm", "last-blocks", 8, 128),
    ("tokens", "minilm", "lora", 8, 128),
    ("tokens", "minilm", "mezo", 8, 128),
    ("tokens", "smollm2", "lora", 1, 48),
    ("tokens", "smollm2", "last-blocks", 1, 48),
    ("pixels", "efficientnet-lite0", "full", 8, 96),
    ("pixels", "efficientnet-lite0", "full", 8, 160),
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
    faults = dict.fromkeys(best, 0)
    with arena.planned(step, batch) as used:
        for _ in range(repeats):
            for variant, run in (("planned", used.step), ("plain", step)):
                before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
                run(batch)
                best[variant] = min(best[variant], time.process_time() - start)
                faults[variant] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        assert used.plan is not None
        return {
            "allocations": len(used.plan.sizes), "escaping": used.plan.escaping, "order": used.plan.order,
            "size": used.size, "max live": used.max_live, "served": used.served, "misses": used.misses,
            "planned seconds": best["planned"], "plain seconds": best["plain"],
            "planned faults": faults["planned"], "plain faults": faults["plain"],
        }  # fmt: skip


def resident(case: Case, planned: bool, warm: bool, steps: int = 4) -> dict[str, int]:
    """Bytes above the baseline at the highest, what the steps needed, and what the difference is made of."""
    import peft  # noqa: F401
    import transformers  # noqa: F401

    from workbench.memory import arena, ledger

    if warm:
        tiny = Case(case.task_name, TINY[case.model_name], case.method_name, 2)
        step, batch = tiny.step(tiny.attached(weights=False)), tiny.example()
        for _ in range(2):
            step(batch)
        del step, batch
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _memory()
    with ledger.counting() as count:
        step, batch = case.step(case.attached(weights=False)), case.example()
        with arena.planned(step, batch) if planned else nullcontext() as used:
            run = used.step if planned else step
            for _ in range(0 if planned else 2):
                run(batch)
            Path("/proc/self/clear_refs").write_text("5")  # the highest size is counted anew from here
            live = count.live
            with ledger.counting() as inner:
                for _ in range(steps):
                    run(batch)
            after = _memory()
            need, outside, misses = live + inner.peak, count.live, used.misses if planned else 0
    grown = {name: after[name] - before[name] for name in after}
    excess = after["VmHWM"] - before["VmRSS"] - need
    own = grown["malloc"] - outside
    anonymous = excess - grown["RssFile"]
    rest = anonymous - own - grown["python"]
    return {
        "need": need, "excess": excess, "library pages": grown["RssFile"], "anonymous": anonymous,
        "C++ objects": own, "python": grown["python"], "rest": rest, "misses": misses,
    }  # fmt: skip


class _Malloc(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library; bytes."""

    _fields_ = [(n, ctypes.c_size_t) for n in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]  # fmt: skip


def _memory() -> dict[str, int]:
    """Bytes resident (highest, now, file-backed), in use by malloc, and held by Python's own allocator."""
    names = ("VmHWM", "VmRSS", "RssFile")
    status = [line.split() for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(names)]
    found = {line[0].rstrip(":"): int(line[1]) * 1024 for line in status}
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Malloc
    used = mallinfo()
    return found | {"malloc": used.uordblks + used.hblkhd, "python": _python_arenas()}


def _python_arenas() -> int:
    """Bytes of the arenas of Python's allocator, from its own statistics, which it writes to standard error only."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        found = re.search(rb"(\d+) arenas \* (\d+) bytes/arena", file.read())
    return int(found[1]) * int(found[2]) if found else 0


def _asked(part: str, given: tuple[Any, ...], repeats: int) -> Any:
    command = [sys.executable, __file__, "--part", part, "--case", json.dumps(given), "--repeats", str(repeats)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def collected(given: tuple[Any, ...], repeats: int) -> dict[str, Any]:
    row: dict[str, Any] = {"case": _name(given)}
    row |= _asked("speed", given, repeats)
    for variant in PARTS[1:]:
        row[variant] = _asked(variant, given, repeats)
    return row


PACKED = 1.005  #: aim for the arena's size, of the largest live set
ROOM = 25e6  #: aim for what a process grows by beyond what its steps need, bytes
PARTS = ("speed", "planned", "planned warm", "malloc")
SPEED = ("case", "allocations", "misses", "arena / max live", "speed over malloc", "page faults, malloc")
SIZE = ("case", "need, MB", "excess, malloc", "excess, arena", "library pages", "anonymous", "C++ objects", "Python",
        "rest", "warm: excess, arena")  # fmt: skip


def speed_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["case"],
        f"{row['allocations']:,}",
        f"{row['misses'] + row['planned']['misses']}",
        f"{row['size'] / row['max live']:.4f}",
        f"{row['plain seconds'] / row['planned seconds']:.2f}x",
        f"{row['plain faults']:,}",
    )


def size_cells(row: dict[str, Any]) -> tuple[str, ...]:
    arena = row["planned"]
    parts = ("excess", "library pages", "anonymous", "C++ objects", "python", "rest")
    found = [row["malloc"]["excess"], *(arena[p] for p in parts), row["planned warm"]["excess"]]
    return row["case"], f"{arena['need'] / 1e6:.0f}", *(f"{value / 1e6:+.1f}" for value in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--missing", action="store_true", help="only cases that have no row yet: resumes a stopped run")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "speed":
        print(json.dumps(speed(Case(*json.loads(given.case)), given.repeats)))
        return
    if given.part:
        planned = given.part.startswith("planned")
        print(json.dumps(resident(Case(*json.loads(given.case)), planned, given.part.endswith("warm"))))
        return
    done = stored() if given.missing else {}
    for chosen in CASES:
        if given.only in _name(chosen) and _name(chosen) not in done:
            row = collected(chosen, given.repeats)
            print(*speed_cells(row), "  ", *size_cells(row)[1:], sep=" | ", flush=True)
            keep(row)


def _name(given: tuple[Any, ...]) -> str:
    return f"{given[1]} {given[2]} {given[3]}x{given[4]}"


def stored() -> dict[str, dict[str, Any]]:
    """Rows of earlier runs by the name of their case."""
    return {r["case"]: r for r in json.loads(STORE.read_text())} if STORE.exists() else {}


def keep(row: dict[str, Any]) -> None:
    """Put a row into the results in place of the case's older one, and write the page anew."""
    STORE.parent.mkdir(exist_ok=True)
    rows = stored() | {row["case"]: row}
    names = [_name(c) for c in CASES]
    kept = sorted((r for r in rows.values() if r["case"] in names), key=lambda r: names.index(r["case"]))
    STORE.write_text(json.dumps(kept, indent=1) + "\n")
    text = (__doc__ or "").strip().split("\n")
    lines = [
        "# The planned arena against malloc\n",
        *missed(kept),
        "",
        "Written by",
        "\n```",
        text[2].strip(),
        "```\n",
        *text[4:],
        "",
    ]
    lines += [
        *table(SPEED, [speed_cells(r) for r in kept]),
        "",
        *met(kept),
        "",
        "Resident size, MB; the excess is over the need.",
        "",
    ]
    lines += table(SIZE, [size_cells(r) for r in kept])
    (ROOT / "docs" / "arena.md").write_text("\n".join(lines) + "\n")


def met(rows: list[dict[str, Any]]) -> list[str]:
    """How many cases reach each aim."""
    return [f"- {aim}: {sum(reached)} of {len(rows)} cases" for aim, reached in aims(rows).items()]


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The aims that not every case reaches, with the cases, for the head of the page; only the first three are aims."""
    found = {
        aim: [r["case"] for r, ok in zip(rows, reached, strict=True) if not ok] for aim, reached in aims(rows).items()
    }
    own = {aim: cases for aim, cases in list(found.items())[:3] if cases}
    if not own:
        return ["**Every aim is met in every case.**", "", _sizes(rows)]
    words = [
        f"- *{aim}* is missed by {'every case' if len(cases) == len(rows) else ', '.join(cases)}"
        for aim, cases in own.items()
    ]
    return ["**Not every aim is met:**", "", *words, "", _sizes(rows)]


def _sizes(rows: list[dict[str, Any]]) -> str:
    """The ranges over all cases in one sentence each."""
    largest = max(r["size"] / r["max live"] for r in rows)

    def ranged(of: str) -> str:
        found = [r["planned"][of] / 1e6 for r in rows]
        return f"{min(found):+.0f} to {max(found):+.0f} MB"

    return (
        f"The largest arena is {largest:.4f} of its live set. Processes grow by their need and {ranged('excess')}: "
        f"{ranged('library pages')} of library pages, which depend on what importing touched, and "
        f"{ranged('anonymous')} of their own memory."
    )


def aims(rows: list[dict[str, Any]]) -> dict[str, list[bool]]:
    """Whether each case reaches each aim."""
    return {
        f"the arena is at most {PACKED} of the largest live set": [r["size"] <= PACKED * r["max live"] for r in rows],
        "a planned step is not slower than malloc, within 2 %": [
            r["planned seconds"] <= 1.02 * r["plain seconds"] for r in rows
        ],
        f"the process grows by at most need + {ROOM / 1e6:.0f} MB": [r["planned"]["excess"] <= ROOM for r in rows],
        "the same without library pages": [r["planned"]["anonymous"] <= ROOM for r in rows],
        "the same in a process that has trained before": [r["planned warm"]["excess"] <= ROOM for r in rows],
    }


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


if __name__ == "__main__":
    main()
