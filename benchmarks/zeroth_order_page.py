"""Writes docs/zeroth-order.md from what ``zeroth_order.py`` stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.stats import paired_difference, t_interval

PAGE = Path(__file__).resolve().parents[1] / "docs" / "zeroth-order.md"
TARGET, SMALL_TARGET = 2.15, 1.5  #: step / forward where work decides, step / floor where memory does
HEAD = (
    "case", "forward, ms", "step / forward", "sign noise / forward", "usual loop / forward", "usual loop / step",
    "step / traffic floor", "step / drawn floor", "copy, GB/s", "repeats",
)  # fmt: skip


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")


def page(stored: Mapping[str, Any]) -> Iterator[str]:
    host = stored["host"]
    yield "# Steps without a backward pass\n"
    yield "```\nOMP_NUM_THREADS=1 python benchmarks/zeroth_order.py\n```\n"
    yield (
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), {host['threads']} thread, torch "
        f"{host['torch']}, {stored['when']}; other jobs ran on the machine.\n"
    )
    yield from times(stored.get("time", {}))
    yield from noise(stored.get("noise", {}))
    yield from answers(stored.get("answers", {}))
    yield "What the same work, time, energy and memory buy in accuracy is in [equal-cost.md](equal-cost.md)."


def times(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        return
    yield "## Time\n"
    yield (
        "What a two-sided step costs beside one forward of the same batch, beside the usual loop (reseed, draw and add "
        "the noise in place, three times around two losses and once for the update), and beside two floors: two "
        "forwards and the memory traffic of one read and one write of all weights (*traffic*), two forwards and the "
        "kernel's time for every element a step must draw (*drawn*). Process CPU time, variants of a case in turn in "
        "one process, the least of each.\n"
    )
    yield from table(HEAD, [cells(name, case) for name, case in found.items()])
    told = "; ".join(said(name, case["seconds"]) for name, case in found.items())
    yield (
        f"\nThe limit of *step / forward* is 2. Aims: {TARGET:g} forwards at batch 8 and 128 tokens, "
        f"{SMALL_TARGET:g} times the traffic floor at batch 1 and 32 tokens. {told[0].upper()}{told[1:]}. At batch 1 "
        "and 32 tokens most of a step is noise: what is drawn, not what is moved, is the limit there.\n"
    )


def cells(name: str, case: Mapping[str, Any]) -> list[str]:
    best = case["seconds"]
    forward, step = best["forward"], best["step"]
    return [
        name,
        f"{forward * 1e3:.1f}",
        *(f"{best[variant] / forward:.2f}" for variant in ("step", "sign", "usual")),
        f"{best['usual'] / step:.2f}",
        f"{step / (2 * forward + best['copy']):.2f}",
        f"{step / (2 * forward + best['draw']):.2f}",
        f"{2 * case['bytes'] / best['copy'] / 1e9:.1f}",
        str(case["repeats"]),
    ]


def said(name: str, best: Mapping[str, float]) -> str:
    """Whether the case's aim is met, in words."""
    forward, step = best["forward"], best["step"]
    small = " 1x" in name
    value, aim = (step / (2 * forward + best["copy"]), SMALL_TARGET) if small else (step / forward, TARGET)
    return f"{name} {'meets it' if value <= aim else 'misses it'} ({value:.2f})"


def noise(found: Mapping[str, Any]) -> Iterator[str]:
    if not found:
        return
    yield "## Bytes: noise that is kept\n"
    yield (
        "The lazy ways keep a step's noise, or the noise and a mask that is multiplied with it, for all weights. "
        "*Inference* is one forward without gradients, weights included; all measured by the allocator's ledger.\n"
    )
    rows = [{"Case": name, **row} for name, rows in found.items() for row in rows]
    yield from table(tuple(rows[0]), [list(row.values()) for row in rows])
    yield (
        "\nWhat the first line of a case has over inference is the copy of the largest layer, at most 4 MiB at a time, "
        "and the copies of biases and norms. A mask had better be a selection: with SHiRA or channel slices what is "
        "masked is never drawn.\n"
    )


def answers(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    if not found:
        return
    scores: dict[str, dict[int, float]] = {}
    for key, one in found.items():
        objective, seed = key.split("|")
        scores.setdefault(objective, {})[int(seed)] = one["score"]
    yield "## Training on what has no gradient\n"
    yield (
        "A slope asks for numbers, so it may be that of the share of wrong answers, along which backpropagation has "
        "nothing to say. MiniLM's head on rated movie sentences, 400 to train on and 200 held out, 16 a step, four "
        "two-sided probes of 0.1, AdamW at 0.03; the frozen rest is kept and not computed again.\n"
    )
    titles = {"": "untrained head", "loss": "trained on the loss", "error": "trained on wrong answers alone"}
    rows = []
    for objective, by_seed in scores.items():
        one = next(v for k, v in found.items() if k.startswith(f"{objective}|"))
        interval = t_interval(list(by_seed.values()))
        steps = str(one["steps"]) if objective else "0"
        rows.append([titles[objective], steps, f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"])
    yield from table(("objective", "steps", "held-out score (95 %)"), rows)
    for other in ("", "loss"):
        difference = paired_difference(scores.get("error", {}), scores.get(other, {}))
        if difference is not None and difference.low is not None and difference.high is not None:
            apart = "" if difference.low > 0 or difference.high < 0 else ", not told apart"
            yield (
                f"\nWrong answers against {titles[other]}: {difference.mean:+.3f} ({difference.low:+.3f} to "
                f"{difference.high:+.3f} over {difference.count} seeds{apart})."
            )
    yield ""


def table(head: tuple[str, ...], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
