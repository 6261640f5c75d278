"""Writes docs/low-state.md from what ``low_state.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from workbench.core.units import format_size
from workbench.figures.low_state import paper_memory
from workbench.stats import Interval, paired_difference, t_interval

PAGE = Path(__file__).resolve().parents[1] / "docs" / "low-state.md"
FIRST = "AdamW"
#: Claims of the papers as (lower loss expected, than, how they are told).
DIRECTIONS = (
    ("Natural GaLore", "GaLore", "Natural GaLore's paper: lower loss than GaLore at equal steps"),
    ("GaLore", "AdamW", "GaLore's paper: the loss of full AdamW, which would be a difference around zero"),
    ("GaLore", "GaLore, SVD each interval", "ours: the warm-started basis trains like the SVD's"),
)


def write(stored: Mapping[str, Any]) -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(page(stored)) + "\n")


def page(stored: Mapping[str, Any]) -> list[str]:
    host, rank, interval = stored["host"], stored["rank"], stored["interval"]
    lines = [
        "# Optimizers with little state, side by side\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/low_state.py\n```\n",
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), {host['threads']} thread, torch "
        f"{host['torch']}, {stored['when']}. Rank {rank}, scale {stored['scale']:g}, interval {interval}. State and "
        "peak are measured; *error* is predicted minus measured peak and state. Times are process CPU seconds, arms "
        "taken in turns, the fastest of each, as a ratio to AdamW's step; *mean* spreads the refresh over the "
        "interval.",
    ]
    for name, bench in stored["benches"].items():
        lines += section(name, bench, interval)
    return [*lines, *memory()]


def section(name: str, bench: Mapping[str, Any], interval: int) -> list[str]:
    lines = [f"\n## {name}, {bench['task']}, batch {bench['batch']}\n"]
    if "time" in bench:
        lines.append(f"Times are the fastest of {bench.get('repeats', 5)}.\n")
    lines += [
        "| arm | state | of AdamW's | peak | error | ordinary step | mean step | refresh's share | late loss (95 %) "
        "| against AdamW (paired) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [row(arm, bench, interval) for arm in bench.get("bytes", {})]
    lines += [f"\nNot run: {arm}, {reason}." for arm, reason in bench.get("skipped", {}).items()]
    lines += said(bench)
    if "loss" in bench:
        lines += trained(bench)
    return lines + (turned(bench["angles"]) if "angles" in bench else [])


def row(arm: str, bench: Mapping[str, Any], interval: int) -> str:
    cell, first = bench["bytes"][arm], bench["bytes"][FIRST]
    seconds = bench.get("time", {}).get(arm, {})
    unit = seconds.get("first")
    plain, mean, share = spread(seconds, interval)
    cells = [
        arm,
        format_size(cell["state"]),
        f"{cell['state'] / first['state']:.1%}",
        format_size(cell["peak"]),
        error(cell),
        f"{plain / unit:.2f}" if plain and unit else "–",
        f"{mean / unit:.2f}" if mean and unit else "–",
        "–" if share is None else f"{share:.1%}",
        shown(t_interval(list(late(bench, arm).values()))) if late(bench, arm) else "–",
        shown(paired_difference(late(bench, arm), late(bench, FIRST)), "+") if arm != FIRST else "–",
    ]
    return f"| {' | '.join(cells)} |"


def spread(seconds: Mapping[str, float], interval: int) -> tuple[float | None, float | None, float | None]:
    """Ordinary step, mean step over an interval, and the share of the refresh in it."""
    plain, slow = seconds.get("ordinary"), seconds.get("refreshing")
    if plain is None:
        return None, slow, None
    if slow is None:
        return plain, plain, None
    added = max(0.0, slow - plain) / interval
    return plain, plain + added, added / (plain + added)


def error(cell: Mapping[str, Any]) -> str:
    if "predicted_peak" not in cell:
        return "not predicted"
    state = f", {cell['predicted_state'] - cell['state']:+d}" if "predicted_state" in cell else ""
    return f"{cell['predicted_peak'] - cell['peak']:+d}{state} B"


def late(bench: Mapping[str, Any], arm: str) -> dict[int, float]:
    """Mean training loss of the last third of the steps by seed."""
    return {int(seed): cell["late"] for seed, cell in bench.get("loss", {}).get(arm, {}).items()}


def shown(found: Interval | None, sign: str = "") -> str:
    if found is None:
        return "–"
    if found.low is None or found.high is None:
        return f"{found.mean:{sign}.3f} (one seed)"
    return f"{found.mean:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def said(bench: Mapping[str, Any]) -> list[str]:
    """What the bytes show of libraries, from the cells themselves."""
    cells, lines = bench.get("bytes", {}), []
    ours, peer = cells.get("GaLore"), cells.get("galore-torch")
    if ours and peer and peer["state"] > 1.1 * ours["state"]:
        lines.append(
            f"\ngalore-torch keeps {peer['state'] / ours['state']:.1f} times the state at the same rank: its basis is "
            "a view that keeps the whole factor of the SVD alive."
        )
    eight, full = cells.get("AdamW, 8-bit state"), cells.get(FIRST)
    if eight and full and eight["peak"] > full["peak"]:
        lines.append(
            f"\n8-bit AdamW's peak is {eight['peak'] / full['peak']:.2f} times AdamW's although its state is smaller: "
            "on a CPU its update holds several float32 copies of a whole tensor at once, and the embedding is one."
        )
    return lines


def trained(bench: Mapping[str, Any]) -> list[str]:
    """Rates, steps, and whether each claimed direction shows at this scale."""
    rates = {arm: next(iter(cells.values()))["lr"] for arm, cells in bench["loss"].items() if cells}
    tried = {arm: ", ".join(cells) for arm, cells in bench.get("tuning", {}).items()}
    told = "; ".join(f"{arm} {rate:g}" + (f" of {tried[arm]}" if arm in tried else "") for arm, rate in rates.items())
    lines = [
        f"\n{bench['steps']} steps, three seeds; every arm sees the same data in the same order. Late loss is the "
        f"training loss over the last third. Rates were chosen on another seed: {told}.\n"
    ]
    for lower, than, claim in DIRECTIONS:
        found = paired_difference(late(bench, lower), late(bench, than))
        if found is not None and found.low is not None and found.high is not None:
            lines.append(f"- {claim}: {shown(found, '+')}, {verdict(found)}.")
    return lines


def verdict(found: Interval) -> str:
    assert found.low is not None and found.high is not None
    if found.low <= 0 <= found.high:
        return "not told apart at this scale"
    return "the first is lower" if found.high < 0 else "the first is higher"


def turned(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The warm-started basis against the SVD's."""
    lines = [
        "\n### How good is the warm-started basis?\n",
        "Against the SVD of the same gradient, for the matrices of one block while training: the largest principal "
        "angle (where singular values lie close together it is large although little is lost), and the share of the "
        "gradient's squared norm inside each basis.\n",
        "| step | largest angle, median | captured, median | by the SVD | worst share of the SVD's |",
        "|---:|---:|---:|---:|---:|",
    ]
    for step in sorted({r["step"] for r in rows}):
        at = [r for r in rows if r["step"] == step]
        worst = min(r["captured"] / r["best"] for r in at)
        lines.append(
            f"| {step} | {median(r['angle'] for r in at):.1f}° | {median(r['captured'] for r in at):.1%} "
            f"| {median(r['best'] for r in at):.1%} | {worst:.1%} |"
        )
    return lines


def memory() -> list[str]:
    table = paper_memory()
    lines = ["\n## What the history costs at the paper's own sizes\n", table.caption, ""]
    lines += ["| " + " | ".join(c.title for c in table.columns) + " |", "|---" * len(table.columns) + "|"]
    return lines + ["| " + " | ".join(table.shown(r, c) for c in table.columns) + " |" for r in table.rows]
