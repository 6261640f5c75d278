"""Writes docs/lean-backward.md from what ``lean_backward.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lean_charts as charts
from lean_backward_pairs import arm_label, differences, told, work, worst_steps

from workbench.core.units import format_size
from workbench.papers import paper
from workbench.stats import mean, score_interval

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lean-backward.md"
Row = Mapping[str, Any]


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")
    for name, info in drawings(stored).items():
        charts.draw(info, name)


def drawings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The chart of every model, and what SlimFit keeps, by the name of its file."""
    bars = {
        f"lean-static-{model}": charts.static_bars(model, parts["static"])
        for model, parts in stored["models"].items()
        if "static" in parts
    }
    return bars | {
        f"lean-chart-{model}": charts.chart(model, parts["trained"], arm_label, work(parts["predicted"]), "4 GiB")
        for model, parts in stored["models"].items()
        if "trained" in parts
    }


def page(stored: Mapping[str, Any]) -> list[str]:
    host, drawn = stored["host"], drawings(stored)
    lines = [
        "# What the backward pass keeps: MobileTL and SlimFit\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/lean_backward.py\n```\n",
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), torch {host['torch']}, {stored['when']}; "
        "the machine was shared, so times compare badly. Bytes are measured unless they say predicted. The same as a "
        "page to play with: `pintpot report lean-backward`.",
        "\nMobileTL trains the last inverted residuals; the norms inside them train their shift only and their "
        "activations keep one bit an element. SlimFit freezes in each step the layers that moved least and packs what "
        "the backward pass reads whatever trains. Telling a tensor not to train (`requires_grad`) is the lazy variant "
        "of both: torch keeps the inputs of norms and activations all the same.",
    ]
    for model, parts in stored["models"].items():
        lines.append(f"\n## {model}\n")
        lines += _FIRST_WORDS.get(model, ())
        if (info := drawn.get(f"lean-chart-{model}")) is not None:
            lines += [*charts.embedded(info, f"lean-chart-{model}"), ""]
        if (info := drawn.get(f"lean-static-{model}")) is not None:
            lines += [*charts.embedded(info, f"lean-static-{model}"), ""]
        for name, write_part in _PARTS.items():
            if parts.get(name):
                lines += (
                    write_part(parts[name], parts.get("predicted", ())) if name in _ASIDE else write_part(parts[name])
                )
        lines += _LAST_WORDS.get(model, ())
    return lines


def _blocks(rows: Sequence[Row]) -> list[str]:
    lines = [
        "### Saved by block, on both denominators\n",
        "| block | torch | result shared with the next convolution | MobileTL | less than torch | less than shared |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = {k: sum(r[k] for r in rows) for k in ("stock", "shared", "lean")}
    for row in (*rows, {"block": "all", **total}):
        sizes = " | ".join(format_size(row[k]) for k in ("stock", "shared", "lean"))
        less = " | ".join(f"{1 - row['lean'] / row[k]:.1%}" for k in ("stock", "shared"))
        lines.append(f"| {row['block']} | {sizes} | {less} |")
    said = paper(8)
    return [
        *lines,
        "\nOf a stride-1 block with expansion 6 the counts in units of its narrow map are 38.008, 26 and 14.375 "
        "(held by a test): 62 % and 45 % less. A strided block here pads its map and keeps the padded copy. "
        f"The paper ({said.provenance}): {said.headline}.",
    ]


def _cosines(rows: Sequence[Row]) -> list[str]:
    lines = [
        "\n### Where the one-bit derivative points\n",
        "Cosine with torch's gradient on a small net that has trained for 30 steps, four of its five blocks tuned; the "
        "least over the weights, and over the shifts, of each block. With ReLU6 the gradient is exact.\n",
        "| activation | block | weights, least | shifts of inner norms, least |",
        "|---|---|---:|---:|",
    ]
    for model, name in (("tiny-cnn", "ReLU6"), ("tiny-hardswish", "hard-swish")):
        for block in ("1", "2", "3", "4"):
            inside = [r for r in rows if r["model"] == model and r["tensor"].startswith(f"blocks.{block}.")]
            weights = [r["cosine"] for r in inside if r["tensor"].endswith("conv.weight")]
            shifts = [r["cosine"] for r in inside if r["tensor"].endswith(("expand_norm.bias", "depthwise_norm.bias"))]
            lines.append(f"| {name} | {block} | {min(weights):.3f} | {min(shifts):.3f} |")
    return lines


def _activations(rows: Sequence[Row]) -> list[str]:
    lines = [
        "\n### What the one-bit derivative costs in accuracy\n",
        "Small nets that learned digits and are tuned to pictures of clothing, all blocks but the first, one pass over "
        "1200 pictures; each row at the best of its rates by 200 training examples set aside.\n",
        "| activation | derivative | rate | by rate, set aside | accuracy (95 %) | kept |",
        "|---|---|---:|---|---:|---:|",
    ]
    names = {"tiny-cnn": "ReLU6", "tiny-hardswish": "hard-swish", "lean": "one bit", "requires-grad": "torch's own"}
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        scores.setdefault((row["model"], row["compute"]), {})[row["seed"]] = row["score"]
    for (model, compute), found in scores.items():
        one = next(r for r in rows if (r["model"], r["compute"]) == (model, compute))
        tried = "; ".join(f"{float(rate):g}: {score:.1%}" for rate, score in one["rates"].items())
        cells = (names[model], names[compute], f"{one['lr']:g}", tried, _spread(list(found.values())))
        lines.append(f"| {' | '.join(cells)} | {format_size(one['kept'])} |")
    pairs = [(names[m], scores[m, "lean"], scores[m, "requires-grad"]) for m in dict.fromkeys(m for m, _ in scores)]
    return [*lines, *told("torch's own derivative", pairs)]


def _norms(rows: Sequence[Row]) -> list[str]:
    lines = [
        f"\n### Is it the statistics that move?\n\n{_BELOW_THE_HEAD}\n",
        "| way | moving | all held still, by rate |",
        "|---|---:|---|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        found: dict[str, list[float]] = {}
        for row in rows:
            if row["way"] == way:
                found.setdefault(row["statistics"], []).append(row["score"])
        moving = _spread(found.pop("moving"))
        lines.append(f"| {way} | {moving} | {'; '.join(f'{rate}: {_spread(s)}' for rate, s in found.items())} |")
    return lines


def _scores(found: Row) -> list[str]:
    said = ", ".join(f"`{name}`" for name in found["most"])
    least = ", ".join(f"`{name}`" for name in found["least"])
    return [
        f"\n### Which layers had moved, {found['arm']}, one run of {found['steps']} steps\n",
        f"![{found['alt']}](lean-backward-{found['model']}.svg)\n",
        f"Decimal logarithm of mean |w - w'| / |w'| of each of {found['layers']} layers at its last turn, first seed. "
        f"Most at the end: {said}; least: {least}; between the first and the last lie {found['spread']:.1f} decades.",
    ]


def _packing(found: Row) -> list[str]:
    return [
        f"Packing turns the whole gradient by a cosine of {found['cosine']:.4f}, a relative error of "
        f"{found['relative error']:.1%} (all layers trained, no dropout, one batch).\n"
    ]


def _predicted(rows: Sequence[Row]) -> list[str]:
    names = [name for name in rows[0] if name != "way"]
    lines = [
        "\n### The worst step of every arm, predicted; the last three are lazy\n",
        f"| way | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    lines += [f"| {row['way']} | {' | '.join(str(row[name]) for name in names)} |" for row in rows]
    gflop = work(rows)
    full = next((n for way, n in gflop.items() if way.startswith("full ")), 0.0)
    lean = [way for way in gflop if way.startswith("mobile-tl") and "compute" not in way] if full else []
    said = "; ".join(f"{way.split()[-1]} {1 - gflop[way] / full:.0%}" for way in lean)
    if lean:
        lines.append(
            f"\nOperations of a step below full tuning's, counted: {said}. The paper: 36 % with 5 blocks of V3."
        )
    if len(gflop) < len(rows):
        lines.append(
            "\nTrained numbers of `int8-training` are int8 weights, int32 biases and the float head. Its products are "
            "of integers, which no counter of floating-point operations sees, so no operations are given."
        )
    return lines


def _bytes(rows: Sequence[Row]) -> list[str]:
    lines = [
        "\n### The lazy variants, given away by their bytes\n",
        "| way | kept for backward | worst step | predicted minus measured |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        sizes = f"{format_size(row['kept'])} | {format_size(row['measured'])}"
        lines.append(f"| {row['way']} | {sizes} | {row['predicted'] - row['measured']:+} B |")
    return lines


def _rates(rows: Sequence[Row], predicted: Sequence[Row]) -> list[str]:
    lines = [
        "\n### Learning rates\n",
        "Accuracy on 200 further training examples set aside, on a seed that no result uses; the test set played no "
        "part. Each arm of this table takes the best of its row; a single example (0.5 %) does not move a rate. "
        "Recomputing takes full tuning's rate.\n",
        "| way | accuracy by rate | best | taken |",
        "|---|---|---:|---:|",
    ]
    taken = {_without_rate(r["way"]): next(w[3:] for w in r["way"].split() if w.startswith("lr=")) for r in predicted
             if "lr=" in r["way"]}  # fmt: skip
    edges, beside = [], []
    for way in dict.fromkeys(row["way"] for row in rows):
        found = {row["rate"]: row["score"] or 0.0 for row in rows if row["way"] == way}
        tried = "; ".join(f"{rate:g}: {score:.1%}" for rate, score in found.items())
        best, edge = max(found, key=lambda rate: (found[rate], f"{rate:g}" == taken[way])), ""
        for word, end in (("lowest", min(found)), ("highest", max(found))):
            if float(taken[way]) == end or best == end:
                edge, edges = f" ({word} tried)", [*edges, way]
        lines.append(f"| {way} | {tried} | {best:g}{edge} | {taken[way]} |")
        beside += [way] if float(taken[way]) not in found else []
    if edges:
        lines.append(
            f"\nThe best rate lies at an end of what was tried, so a better one may lie beyond: {', '.join(edges)}. "
            "What these arms score below may be less than they can."
        )
    if beside:
        lines.append(f"\nTrained before the grid was asked, at a rate within 5 % of its best: {', '.join(beside)}.")
    rated = {row["way"] for row in rows}
    slim = [way for r in predicted if (way := _without_rate(r["way"])).startswith("slimfit") and "=" in way]
    without = [way for way in slim if way not in rated and not any(lazy in way for lazy in ("packed=", "gradients="))]
    if slim and rated.intersection(slim):
        lines.append(f"\n{_SLIMFIT_RATES}")
    if without:
        lines.append(f"\n{_SLIMFIT_RULE.format(ways=', '.join(without))}")
    return lines


_SLIMFIT_RATES = (
    "SlimFit has a row for each share of frozen layers. Its paper raises the rate with that share; the grid, not that "
    "rule, decides here."
)
_SLIMFIT_RULE = (
    "**Without a row: {ways}.** There the rate is full tuning's times (1 - F)^-0.75 for a share F of frozen layers, "
    "which nobody tuned."
)


def _without_rate(way: str) -> str:
    return " ".join(word for word in way.split() if not word.startswith("lr="))


def _trained(rows: Sequence[Row], predicted: Sequence[Row]) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(arm_label(row), []).append(row)
    steps = max(r["steps"] for r in rows)
    lines = [
        f"\n### Trained for {steps} steps\n",
        "| arm | accuracy (95 %) | kept, worst step | worst step | predicted minus measured | "
        "highest step of the runs | median step |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for label, some in groups.items():
        done = [r for r in some if r["state"] == "done"]
        if not done:
            lines.append(f"| {label} | {some[0]['state']}: {some[0]['reason']} | | | | | |")
            continue
        kept, worst, highest = (format_size(max(r[k] for r in done)) for k in ("kept", "measured", "highest"))
        off = max((r["predicted"] - r["measured"] for r in done), key=abs)
        seconds = sorted(r["seconds"] for r in done)[len(done) // 2]
        score = _spread([r["score"] for r in done])
        lines.append(f"| {label} | {score} | {kept} | {worst} | {off:+} B | {highest} | {seconds:.2g} s |")
    said = (
        "\nA method whose trained set changes is predicted, and measured, on the worst set its rules allow, with "
        "optimizer state for everything that trains at some time; no step of a run may pass it."
    )
    return [*lines, said, *worst_steps(groups), *differences(groups, predicted)]


_BELOW_THE_HEAD = (
    "Why arms lie below the head alone: it is the statistics that move. With `statistics=moving` frozen weights meet "
    "those of batches of 16 that they were not made for, and GreenTrainer, which may train any tensor at some time, "
    "moves all of them. Held still, at a rate of 0.001, its choice is 11.5 points higher (paired, +7.0 to +16.0) and "
    "not below the head alone any more (+4.8, -4.3 to +13.9); that rate was looked up in the table below, not chosen "
    "by other data. At its own rate of 0.003 nothing that normalises is left and some runs fail, as full tuning does."
)

_WORST_STEP = (
    "\nWhy MobileTL does not lower the worst step: by the prediction, which is exact, that is reached in the forward "
    "pass of `blocks.1`, before anything is kept: weights, AdamW's state and one convolution's workspace."
)
_FROM_RANDOM = (
    "\nFrom random weights SlimFit is not reproduced: accuracy falls as more layers are frozen, at the best rate of "
    "each share as well. Its paper tunes pretrained models; what is frozen here has never been trained."
)
_FACTORY = (
    "A net for a microcontroller that has learned digits in its factory and learns clothing here; all arms "
    "run on this host. What its int8 step needs on the device itself: "
    "[the microcontroller page](microcontroller.md)."
)
_FIRST_WORDS = {"mcu-net": (_FACTORY,)}
_LAST_WORDS = {"efficientnet-lite0": (_WORST_STEP,), "tiny-vit": (_FROM_RANDOM,)}


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1%} (one seed)"
    found = score_interval(values, len(values))
    return f"{mean(values):.1%} ({found.low:.1%} to {found.high:.1%}; {len(values)} seeds)"


_PARTS = {
    "blocks": _blocks, "cosines": _cosines, "activations": _activations, "packing": _packing, "predicted": _predicted,
    "bytes": _bytes, "rates": _rates, "trained": _trained, "norms": _norms,
    "scores": _scores,
}  # fmt: skip
_ASIDE = ("rates", "trained")  #: parts that are written with what is predicted beside them
