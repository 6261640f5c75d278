"""Which arms fit a budget that binds, and the best score among them, from what the benchmarks stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.core.units import format_size
from workbench.stats import mean, score_interval

Row = Mapping[str, Any]
MOST = 4  #: budgets of a table


def budgets(rows: Sequence[Row]) -> list[int]:
    """Sizes of one or one and a half powers of two that part the arms, as evenly as there are any, smallest first."""
    worst = sorted({r["measured"] for r in rows if r["state"] == "done"})
    sizes = sorted(size for power in range(12, 40) for size in (1 << power, 3 << power - 1))
    found: dict[int, int] = {}
    for size in sizes:
        fits = sum(1 for one in worst if one <= size)
        if 0 < fits < len(worst):
            found.setdefault(fits, size)
    parting = list(found.values())
    if len(parting) <= MOST:
        return parting
    return [parting[round(i * (len(parting) - 1) / (MOST - 1))] for i in range(MOST)]


def table(rows: Sequence[Row], label: Callable[[Row], str], score: Callable[[Row], float], name: str) -> list[str]:
    """Lines of a page: who fits each budget by its worst step, and the best of them by its mean."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["state"] == "done":
            groups.setdefault(label(row), []).append(row)
    worst = {arm: max(r["measured"] for r in some) for arm, some in groups.items()}
    lines = [
        "\n### Who fits a budget that binds\n",
        "By the worst step, measured, of all arms above. The best of several arms is picked by the score that is "
        "printed, which flatters it.\n",
        f"| budget | arms that fit | best of them | its {name} (95 %) |",
        "|---:|---|---|---:|",
    ]
    for budget in budgets(rows):
        fits = [arm for arm in groups if worst[arm] <= budget]
        best = max(fits, key=lambda arm: mean([score(r) for r in groups[arm]]))
        values = [score(r) for r in groups[best]]
        found = score_interval(values, len(values))
        span = f"{100 * mean(values):.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
        lines.append(f"| {format_size(budget)} | {len(fits)} of {len(groups)}: {_short(fits)} | {best} | {span} |")
    best = max(groups, key=lambda arm: mean([score(r) for r in groups[arm]]))
    lines.append(f"| none | all | {best} | {100 * mean([score(r) for r in groups[best]]):.1f} % |")
    return lines


def _short(arms: Sequence[str]) -> str:
    """Names without rates; arms of one method together, with what tells them apart."""
    by_method: dict[str, list[str]] = {}
    for arm in arms:
        method, *rest = arm.split()
        told = " ".join(w for w in rest if not w.startswith(("lr=", "r=", "channels=", "rho=")))
        told = "" if told == "select=random" and method == "s2ft" else told  # its usual way
        by_method.setdefault(method, []).append(told.replace("blocks=", "").replace("frozen=", ""))
    return "; ".join(
        f"{method} {', '.join(one or 'plain' for one in found)}" if any(found) else method
        for method, found in by_method.items()
    )
