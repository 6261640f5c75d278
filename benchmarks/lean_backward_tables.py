"""Tables of ``docs/lean-backward.md`` that are of one part of what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lean_backward_pairs import Row, told, work
from lean_backward_settings import VALIDATION

from workbench.core.units import format_size
from workbench.papers import paper
from workbench.stats import mean, score_interval


def blocks(rows: Sequence[Row]) -> list[str]:
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


def cosines(rows: Sequence[Row]) -> list[str]:
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


def activations(rows: Sequence[Row]) -> list[str]:
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
        cells = (names[model], names[compute], f"{one['lr']:g}", tried, spread(list(found.values())))
        lines.append(f"| {' | '.join(cells)} | {format_size(one['kept'])} |")
    pairs = [(names[m], scores[m, "lean"], scores[m, "requires-grad"]) for m in dict.fromkeys(m for m, _ in scores)]
    return [*lines, *told("torch's own derivative", pairs), *_unequal_rates(rows, names)]


def _unequal_rates(rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    """A caveat for every activation whose derivatives were trained at different rates."""
    said = []
    for model in dict.fromkeys(r["model"] for r in rows):
        lean, own = (
            next(r for r in rows if (r["model"], r["compute"]) == (model, c)) for c in ("lean", "requires-grad")
        )
        if lean["lr"] != own["lr"]:
            tried = own["rates"]
            at, best = tried[f"{lean['lr']:g}"], tried[f"{own['lr']:g}"]
            said.append(
                f"\n**With {names[model]} the two stand at different rates** ({lean['lr']:g} and {own['lr']:g}): "
                "torch's "
                f"own took its rate by {best:.1%} against {at:.1%} of {VALIDATION} examples on one seed, "
                f"{round((best - at) * VALIDATION)} pictures. At equal rates they were not compared on the test "
                "set, so "
                "the difference may be the rate's, and does not show that an approximate derivative trains better."
            )
    return said


def scores(found: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"`{name}`" for name in found["most"])
    least = ", ".join(f"`{name}`" for name in found["least"])
    return [
        f"\n### Which layers had moved, {found['arm']}, one run of {found['steps']} steps\n",
        f"![{found['alt']}](lean-backward-{found['model']}.svg)\n",
        f"Decimal logarithm of mean |w - w'| / |w'| of each of {found['layers']} layers at its last turn, first seed. "
        f"Most at the end: {said}; least: {least}; between the first and the last lie {found['spread']:.1f} decades.",
    ]


def packing(found: Mapping[str, Any]) -> list[str]:
    return [
        f"Packing turns the whole gradient by a cosine of {found['cosine']:.4f}, a relative error of "
        f"{found['relative error']:.1%} (all layers trained, no dropout, one batch).\n"
    ]


def predicted(rows: Sequence[Row]) -> list[str]:
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
        lines.append(f"\nOperations of a step below full tuning's, counted: {said}.")
    if len(gflop) < len(rows):
        lines.append(
            "\nTrained numbers of `int8-training` are int8 weights, int32 biases and the float head. Its products are "
            "of integers, which no counter of floating-point operations sees, so no operations are given."
        )
    return lines


def lazy(rows: Sequence[Row]) -> list[str]:
    lines = [
        "\n### The lazy variants, given away by their bytes\n",
        "| way | kept for backward | worst step | predicted minus measured |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        sizes = f"{format_size(row['kept'])} | {format_size(row['measured'])}"
        lines.append(f"| {row['way']} | {sizes} | {row['predicted'] - row['measured']:+} B |")
    return lines


def rates(rows: Sequence[Row], predicted: Sequence[Row]) -> list[str]:
    lines = [
        "\n### Learning rates\n",
        f"Accuracy on {VALIDATION} further training examples set aside, on a seed that no result uses; the test "
        "set played no "
        "part. Each arm of this table takes the best of its row; a single example does not move a rate. "
        "Recomputing takes full tuning's rate.\n",
        "| way | accuracy by rate | best | taken |",
        "|---|---|---:|---:|",
    ]
    taken = {without_rate(r["way"]): next(w[3:] for w in r["way"].split() if w.startswith("lr=")) for r in predicted
             if "lr=" in r["way"]}  # fmt: skip
    edges, beside = [], {}
    for way in dict.fromkeys(row["way"] for row in rows):
        found = {row["rate"]: row["score"] or 0.0 for row in rows if row["way"] == way}
        tried = "; ".join(f"{rate:g}: {score:.1%}" for rate, score in found.items())
        best, edge = max(found, key=lambda rate: (found[rate], f"{rate:g}" == taken[way])), ""
        for word, end in (("lowest", min(found)), ("highest", max(found))):
            if float(taken[way]) == end or best == end:
                edge, edges = f" ({word} tried)", [*edges, way]
        lines.append(f"| {way} | {tried} | {best:g}{edge} | {taken[way]} |")
        if float(taken[way]) not in found:
            beside[way] = f"{way} ({taken[way]}, {abs(float(taken[way]) / best - 1):.0%} from the best)"
    if edges:
        lines.append(
            f"\nThe best rate lies at an end of what was tried, so a better one may lie beyond: {', '.join(edges)}. "
            "What these arms score below may be less than they can."
        )
    if beside:
        lines.append(f"\nTrained before the grid was asked, at a rate that is not in it: {', '.join(beside.values())}.")
    rated = {row["way"] for row in rows}
    slim = [way for r in predicted if (way := without_rate(r["way"])).startswith("slimfit") and "=" in way]
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


def without_rate(way: str) -> str:
    return " ".join(word for word in way.split() if not word.startswith("lr="))


def spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1%} (one seed)"
    found = score_interval(values, len(values))
    return f"{mean(values):.1%} ({found.low:.1%} to {found.high:.1%}; {len(values)} seeds)"
