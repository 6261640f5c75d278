"""Writes docs/slices-and-tensors.md from what ``lean_transformers.py`` stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lean_budgets
import lean_charts as charts
import lean_claims
import lean_transformers_words as words
from lean_backward_words import many_intervals
from lean_transformers_words import at_operations, find, reasons

from workbench.core.units import format_size
from workbench.stats import Interval, mean, paired_difference, score_interval

PAGE = Path(__file__).resolve().parents[1] / "docs" / "slices-and-tensors.md"


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")
    for name, info in drawings(stored).items():
        charts.draw(info, name)


def drawings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The chart of every model by the name of its file."""
    budgets = {"minilm": "1 GiB"}
    return {
        f"slices-chart-{model}": charts.chart_of_transformers(
            model, parts["trained"], _label, budgets.get(model, "4 GiB"), lean_budgets.budgets(parts["trained"])
        )
        for model, parts in stored["models"].items()
        if "trained" in parts
    }


def page(stored: Mapping[str, Any]) -> list[str]:
    host, drawn = stored["host"], drawings(stored)
    head = [
        "# Slices of channels and chosen tensors, beside adapters\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/lean_transformers.py\n```\n",
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), torch {host['torch']}, {stored['when']}. "
        "Bytes are measured unless they say predicted. The same comparison as a page to play with: "
        "`pintpot report slices-and-tensors`.",
        "\nS2FT permutes the chosen heads and feed-forward channels to the front of their matrices, which changes no "
        "output, and trains the dense slice in place. GreenTrainer chooses in every epoch the tensors whose "
        "next update is worth most, within a share *rho* of full tuning's operations.",
        f"\n{words.NO_HEADS}",
    ]
    ended = "trained" in stored["models"].get("smollm2-rated", {})
    again = "it stands below" if ended else "it has not been run to the end"
    lines: list[str] = []
    for model, parts in stored["models"].items():
        lines.append(f"\n## {_TITLES.get(model, model)}\n")
        if parts.get("trained"):
            lines.append(f"{words.learned(model, parts['trained'])}\n")
        for name, write_part in _PARTS.items():
            if name in parts:
                aside = (_RATES[model], again) if name == "trained" else ()
                lines += write_part(parts[name], *aside)
        if (info := drawn.get(f"slices-chart-{model}")) is not None:
            lines += [*charts.embedded(info, f"slices-chart-{model}"), *_MISSING.get(model, ())]
    return [*head, many_intervals(lines), *lines]


_TITLES = {"smollm2-rated": "smollm2 again: rates of its own, requests of up to 144 tokens, 80 to test on"}
_NOT_HERE = (
    "\nBiases alone, the last blocks and recomputing were not trained on this model; on MiniLM they stand on "
    "[the lean page](lean-backward.md)."
)
_MISSING = {
    "smollm2": (_NOT_HERE,),
    "smollm2-rated": (_NOT_HERE,),
    "minilm": ("\nWith all easy baselines: [the lean page](lean-backward.md).",),
}
_RATES = {
    "minilm": (
        "Rates: one for each method, the best of the three on [the lean page](lean-backward.md) or within one example "
        "of it, chosen there on examples set aside in trainings of 25 steps, shorter than these. Ways of choosing "
        "share their method's."
    ),
    "smollm2": (
        "Rates: **MiniLM's, for every method; none was tried on this model**, so a difference between methods here is "
        "also one between rates that were chosen elsewhere."
    ),
    "smollm2-rated": "Rates: the best of each row above.",
}


def _exact(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "### The permutation changes nothing, and the adapter is the whole difference\n",
        "| what trains | logits moved by the permutation, of the largest | the same in float64 | "
        "plain model + adapter = tuned checkpoint | "
        "adapter | peak, measured | predicted minus measured |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    key = "plain model with the adapter is the tuned checkpoint"
    lines += [
        f"| {r['what trains']} | {r['logits moved by the permutation']:.1e} | {_small(r.get('the same in float64'))} | "
        f"{'to the bit' if r[key] else 'NO'} | "
        f"{format_size(r['adapter'])} | {format_size(r['measured'])} | {r['predicted'] - r['measured']:+} B |"
        for r in rows
    ]
    return [*lines, *words.rounding(rows)]


def _small(value: float | None) -> str:
    return "not run" if value is None else f"{value:.1e}"


def _bytes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "\n### One step: the slice, its lazy variants, an adapter of the same size\n",
        "| way | trained numbers | kept for backward | optimizer state | peak, measured | predicted minus measured | "
        "forward GFLOP | backward GFLOP |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['way']} | {r['trained numbers']} | {r['kept for backward']} | {r['optimizer state']} | "
        f"{format_size(r['measured bytes'])} | {r['predicted bytes'] - r['measured bytes']:+} B | "
        f"{r['forward GFLOP']} | {r['backward GFLOP']} |"
        for r in rows
    ]
    return [
        *lines,
        "\n`compute=mask` computes whole gradients and masks them, `compute=delta` adds a second product whose saved "
        "view keeps the whole input alive. Both give the same weights as the slice.",
    ]


def _target(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "\n### The target of operations\n",
        "| rho | counted before | measured | off | tensors | choosing, in full steps |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['rho']:g} | {r['counted']:.4f}{_missed(r['counted'], r['rho'])} | "
        f"{r['measured']:.4f} | {r['off']:+} FLOP | {r['tensors']} | "
        f"{r['choosing']:.2f} |"
        for r in rows
    ]
    return [
        *lines,
        "\n*Off* is the measurement less the count, not the distance from the target, which a choice of whole tensors "
        "may fall short of. A step's operations as shares of full tuning's, after a choice on a real batch; "
        "*measured* is torch's `FlopCounterMode` around the step.",
    ]


def _lazy(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"\n### GreenTrainer's lazy arms, rho={rows[0]['rho']:g}\n",
        "| arm | operations / full's, measured | kept for backward | gradients | worst step, measured | "
        "predicted minus measured |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        sizes = " | ".join(format_size(r[k]) for k in ("kept", "gradients", "measured"))
        name = f"green-trainer {r['arm']}".strip()
        share = f"{r['operations']:.4f}{_missed(r['operations'], r['rho'])}"
        lines.append(f"| {name} | {share} | {sizes} | {r['predicted'] - r['measured']:+} B |")
    return [
        *lines,
        "\n`costs=own` prices a tensor at its own gradient and forgets the way down to it, so it passes its target; "
        "`gradients=all` computes every gradient and drops those that were not chosen, which saves no operation.",
    ]


def _rates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "### Learning rates\n",
        f"Exact calls among {rows[0]['count']} further training examples set aside, on a seed that no result uses; the "
        "test set played no part.\n",
        "| method | exact calls by rate | best |",
        "|---|---|---:|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        found = {row["rate"]: row["score"] or 0.0 for row in rows if row["method"] == method}
        best = max(found, key=found.__getitem__)
        ends = {min(found): " (lowest tried)", max(found): " (highest tried)"}
        tried = "; ".join(f"{rate:g}: {score:.1%}" for rate, score in found.items())
        lines.append(f"| {method} | {tried} | {best:g}{ends.get(best, '')} |")
    return lines


def _missed(share: float, rho: float) -> str:
    """Says where a share of operations misses its target by more than the 2 % that are aimed at."""
    return f" (target {rho:g} missed: {share / rho - 1:+.1%})" if abs(share / rho - 1) > _NEAR else ""


_NEAR = 0.02


def _trained(rows: Sequence[Mapping[str, Any]], rates: str, again: str) -> list[str]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["state"] == "done":
            groups.setdefault(_label(row), []).append(row)
    first = next(row for row in rows if row["state"] == "done")
    held, count = first["held_out"], first["score"]["count"]
    few = f" {_FEW.format(count=count, step=100 / count, again=again)}" if count < _ENOUGH else ""
    lines = [
        "\n### Trained\n",
        f"Scores are of {count} test examples.{few}\n",
        f"{rates}\n",
        f"| arm | {first['score']['name']} (95 %) | {held['name']} on {held['task']}, "
        f"{words.shown(held, held['before'])} before | "
        "ships as | highest step | median step | predicted | time of a step | operations / full's | with choosing |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(label, some) for label, some in groups.items()]
    green = [row["settings"] for row in rows if row["method"] == "green-trainer"]
    if any("spare" not in settings for settings in green if settings["select"] == "importance"):
        lines.append(f"\n{_UNSPENT}")
    if green:
        lines.append(f"\n{_ONE_RATE}")
    score = lambda row: float(row["score"]["value"])  # noqa: E731
    name = str(first["score"]["name"])
    lines += lean_budgets.table([r for some in groups.values() for r in some], _label, score, name)
    lines += lean_claims.table(groups, score, charts.spent_share)
    return [*lines, *_said(groups), *reasons(groups)]


_UNSPENT = (
    "GreenTrainer's runs were made with what importance leaves of the target unspent, which is `spare=leave` now, and "
    "not repeated; the column says where the target is missed."
)
_ONE_RATE = "Ways of choosing share one rate here; on [the lean page](lean-backward.md) each has its own."


_ENOUGH = 64  #: test examples under which no score tells arms apart
_FEW = (
    "**One of {count} is a step of {step:.1f} points**: intervals below are of seeds alone, over the same {count} "
    "examples, and say nothing of other examples. No score of so few tells arms apart. It is the length that leaves so "
    "few: 49 of 400 requests have up to 128 tokens, 180 up to 144. `--model smollm2-rated` tests on 80 of those and "
    "tries rates of their own for full tuning, LoRA and S2FT; {again}."
)


def _label(row: Mapping[str, Any]) -> str:
    usual = (("compute", "slice"), ("select", "random"), ("spare", "fill"))
    settings = {k: v for k, v in row["settings"].items() if (k, v) not in usual}
    if row["method"] == "green-trainer":
        settings["select"] = row["settings"]["select"]
    return " ".join(
        [row["method"], *(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())]
    )


def _row(label: str, some: Sequence[Mapping[str, Any]]) -> str:
    full, rho = sum(r["full"] for r in some), some[0]["settings"].get("rho")
    share = sum(r["training"] for r in some) / full
    cells = [
        label,
        _spread([r["score"] for r in some]),
        _spread([r["held_out"] for r in some]),
        format_size(max(r["adapter"] for r in some)),
        format_size(max(r["highest"] for r in some)),
        format_size(max(r["median"] for r in some)),
        format_size(max(r["predicted"] for r in some)),
        f"{sorted(r['seconds'] for r in some)[len(some) // 2]:.2g} s",
        f"{share:.3f}{'' if rho is None else _missed(share, rho)}",
        f"{sum(r['training'] + r['choosing'] for r in some) / full:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _spread(metrics: Sequence[Mapping[str, Any]]) -> str:
    values, first = [m["value"] for m in metrics], metrics[0]
    show = (lambda v: f"{100 * v:.1f} %") if words.is_share(first) else (lambda v: f"{v:.4g}")
    if len(values) < 2:
        return f"{show(values[0])} (one seed)"
    found: Interval = score_interval(values, None if first["lower_is_better"] else first.get("count") or len(values))
    return f"{show(mean(values))} ({show(found.low)} to {show(found.high)}; {len(values)} seeds)"


#: What the papers claim, as (one arm, another, of what, how it is told).
_CLAIMS = (
    ("s2ft", "lora", "score", "S2FT's paper: better than LoRA of the same size"),
    ("s2ft", "lora", "held_out", "S2FT's paper: forgets less than LoRA (held-out score)"),
    ("s2ft", "full", "held_out", "S2FT's paper: forgets less than full tuning (held-out score)"),
    ("green-trainer importance", "full", "score", "GreenTrainer's paper: no noticeable loss against full"),
    ("green-trainer importance", "lora", "score", "GreenTrainer against LoRA"),
    ("green-trainer importance", "green-trainer random", "score", "chosen against random at the same target"),
    ("green-trainer importance", "green-trainer last", "score", "chosen against the last at the same target"),
)  # fmt: skip


def _said(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    lines: list[str] = []
    for one, other, what, claim in _CLAIMS:
        first, second = find(groups, one), find(groups, other)
        if not first or not second:
            continue
        found = paired_difference(*({r["seed"]: r[what]["value"] for r in some} for some in (first, second)))
        if found is None or found.low is None or found.high is None:
            continue
        told = "not told apart at this scale" if found.low <= 0 <= found.high else "told apart"
        few = what == "score" and first[0]["score"]["count"] < _ENOUGH
        verdict = f"of {first[0]['score']['count']} examples, too few to tell apart" if few else told
        lower = " (lower is better)" if first[0][what]["lower_is_better"] else ""
        if words.is_share(first[0][what]):
            mean_, low, high = (100 * v for v in (found.mean, found.low, found.high))
            span = f"{mean_:+.2f} points ({low:+.2f} to {high:+.2f}; {found.count} seeds)"
        else:
            span = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}; {found.count} seeds)"
        lines.append(f"- {claim}{at_operations(one, other, first, second)}: {span}, {verdict}{lower}.")
    head = "\nPaired differences over seeds with 95 % t intervals, the first arm minus the second:\n"
    return [head, *lines] if lines else ["\nToo few seeds are stored for paired differences."]


_PARTS: dict[str, Callable[..., list[str]]] = {
    "exact": _exact, "bytes": _bytes, "target": _target, "lazy": _lazy, "rates": _rates, "trained": _trained,
}  # fmt: skip
