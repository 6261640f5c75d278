"""Writes docs/reliability.md from what ``reliability.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faults.frame import Experiment

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"

HEAD = """# What was broken on purpose, and what held

Every figure here is counted by a run of

```
make faults        # OMP_NUM_THREADS=1 python benchmarks/reliability.py
```

or, for one row, by the command beside it; the same experiments at a small size are part of `make test` (R1 and R11:
of `make slow`), where seconds are counted and not judged. A row that was run at less
than the full size says so in the second table. *Control* is a deliberately weakened variant that must miss
the target: where one passed, the test would see nothing, and the command fails. Peers ran in the same harness on the
same machine, at the versions installed. A kill is `SIGKILL` at a random moment, which proves the death of a process,
not the loss of power: that rests on SQLite's `synchronous=FULL` and on the order of `fsync` and rename, and is not
tested here. The same bits are promised on one machine with the same versions and thread count.
"""


def write(rows: Mapping[str, Any], known: Mapping[str, Experiment]) -> None:
    PAGE.write_text("\n".join(page(rows, known)) + "\n")


def page(rows: Mapping[str, Any], known: Mapping[str, Experiment]) -> list[str]:
    lines = [HEAD, "| | test | target | ours | met | control | peers |", "|---|---|---|---|---|---|---|"]
    lines += [_line(experiment, rows[name]) for name, experiment in known.items() if name in rows]
    missing = [f"{name} ({e.test})" for name, e in known.items() if name not in rows]
    if missing:
        lines.append(f"\nNot run at full size yet: {', '.join(missing)}.")
    lines += ["\n## When and how\n", "| | when | command | minutes | size |", "|---|---|---|---:|---|"]
    for name, experiment in known.items():
        if name in rows:
            row = rows[name]
            part = "" if row["size"] == experiment.long else f" of the full run's {experiment.long:,}"
            size = f"{row['size']:,}{part} {experiment.unit}"
            lines.append(f"| {name} | {row['when']} | `{row['command']}` | {row['seconds'] / 60:.1f} | {size} |")
    hosts = sorted({_host(rows[name]["host"]) for name in known if name in rows})
    lines += [f"\nOn {host}." for host in hosts]
    notes = [f"- {name}: {e.note}" for name, e in known.items() if e.note and name in rows]
    return lines + (["\n## How to read them\n", *notes] if notes else [])


def _line(experiment: Experiment, row: Mapping[str, Any]) -> str:
    cells = [
        experiment.name,
        experiment.test,
        experiment.target,
        _words(row["figures"]),
        "yes" if row["met"] else "**no**",
        "; ".join(f"{n}: {_words(f)}" for n, f in row["controls"].items())
        + (" (fails)" if row["controls_failed"] else " **(passes)**"),
        "; ".join(f"{n}: {_words(f)}" for n, f in row["peers"].items()) or "–",
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _words(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _host(host: Mapping[str, Any]) -> str:
    return (
        f"{host['cores']} cores ({host['machine']}, {host['processor']}), {host['threads']} thread, "
        f"Python {host['python']}, torch {host['torch']}"
    )
