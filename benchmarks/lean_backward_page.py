"""Writes docs/lean-backward.md from what ``lean_backward.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.core.units import format_size
from workbench.papers import paper
from workbench.stats import mean, paired_difference, score_interval

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lean-backward.md"
Row = Mapping[str, Any]


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")


def page(stored: Mapping[str, Any]) -> list[str]:
    host = stored["host"]
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
        for name, write_part in _PARTS.items():
            if parts.get(name):
                lines += write_part(parts[name])
        if model == "tiny-vit":
            lines.append(_FROM_RANDOM)
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
    return [*lines, *_told("torch's own derivative", pairs)]


def _norms(rows: Sequence[Row]) -> list[str]:
    lines = ["\n### Is it the statistics that move?\n", "| way | moving | all held still, by rate |", "|---|---:|---|"]
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
    work = {r["way"]: float(r["forward GFLOP"]) + float(r["backward GFLOP"]) for r in rows}
    full = next((n for way, n in work.items() if way.startswith("full ")), 0.0)
    lean = [way for way in work if way.startswith("mobile-tl") and "compute" not in way] if full else []
    said = "; ".join(f"{way.split()[-1]} {1 - work[way] / full:.0%}" for way in lean)
    if lean:
        lines.append(
            f"\nOperations of a step below full tuning's, counted: {said}. The paper: 36 % with 5 blocks of V3."
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


def _rates(rows: Sequence[Row]) -> list[str]:
    lines = [
        "\n### Learning rates\n",
        "Accuracy on 200 further training examples set aside, on a seed that no result uses; the test set played no "
        "part. Each arm takes the best of its row; a single example (0.5 %) does not move a rate.\n",
        "| way | accuracy by rate | best |",
        "|---|---|---:|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        found = {row["rate"]: row["score"] or 0.0 for row in rows if row["way"] == way}
        tried = "; ".join(f"{rate:g}: {score:.1%}" for rate, score in found.items())
        lines.append(f"| {way} | {tried} | {max(found, key=found.__getitem__):g} |")
    return lines


def _trained(rows: Sequence[Row]) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_label(row), []).append(row)
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
    return [*lines, said, *_differences(groups)]


def _differences(groups: Mapping[str, Sequence[Row]]) -> list[str]:
    """Paired differences over the seeds that both have: with full tuning, with the head alone, with chance, and with
    torch's own blocks."""
    scores = {label: {r["seed"]: r["score"] for r in some if r["state"] == "done"} for label, some in groups.items()}
    said = []
    for what, begins in (("full tuning", "full "), ("the head alone", "head ")):
        reference = next((label for label in groups if label.startswith(begins)), None)
        others = [label for label in groups if label != reference]
        if reference is not None:
            said += _told(what, [(label, scores[label], scores[reference]) for label in others])
    by_arm = {_arm(some[0]): label for label, some in groups.items()}
    chance = _counterparts(by_arm, "green-trainer", "slimfit")
    by_chance = [(label, scores[label], scores[other]) for label, other in chance]
    said += [*_told("the same by chance", by_chance), *_chance(by_chance)]
    plain = [
        (label, by_arm.get(("last-blocks", *rest))) for (name, *rest), label in by_arm.items() if name == "mobile-tl"
    ]
    blocks = [(label, scores[label], scores[other]) for label, other in plain if other is not None]
    said += _told("as many of torch's own blocks, norms kept", blocks)
    if any("statistics=moving" in label for label in groups):
        said.append(f"\n{_BELOW_THE_HEAD}")
    return said


def _arm(row: Row) -> tuple[str, ...]:
    """What names an arm whatever its rate and the order of its settings."""
    kept = sorted((k, v) for k, v in row["settings"].items() if k != "lr" and (k, v) not in _USUAL)
    return (row["method"], *(f"{k}={v}" for k, v in kept))


def _counterparts(by_arm: Mapping[tuple[str, ...], str], *methods: str) -> list[tuple[str, str]]:
    """Each arm chosen by chance behind the same arm chosen by its paper's rule, as labels. Raises ``LookupError`` where
    one of ``methods`` is trained without its counterpart: a pair must not go missing unseen."""
    found, names = [], {name for name, *_ in by_arm}
    for arm, label in by_arm.items():
        if arm[0] in methods and "select=random" in arm:
            own = tuple(word for word in arm if word != "select=random")
            if own not in by_arm:
                raise LookupError(f"{label} has no counterpart that chooses by its paper's rule")
            found.append((by_arm[own], label))
    for name in names.intersection(methods):
        if not any(label.startswith(f"{name} ") for _, label in found):
            raise LookupError(f"{name} is trained, but nothing of it by chance")
    return found


def _chance(pairs: Sequence[tuple[str, Mapping[int, float], Mapping[int, float]]]) -> list[str]:
    """What the differences with chance say together."""
    if not pairs:
        return []
    gaps = [(label, paired_difference(one, other)) for label, one, other in pairs]
    apart = [label for label, gap in gaps if gap is not None and gap.low is not None and gap.low > 0]
    if apart:
        return [f"\nBetter than chance: {', '.join(apart)}; the others are not told apart from it or lie below."]
    rules = {"slimfit": "dynamics (SlimFit)", "green-trainer": "importance (GreenTrainer)"}
    said = " or by ".join(dict.fromkeys(rules[label.split()[0]] for label, _ in gaps))
    return [f"\nNo interval lies above zero: **that choosing by {said} is better than chance is not reproduced here.**"]


_FROM_RANDOM = (
    "\nFrom random weights SlimFit is not reproduced: accuracy falls as more layers are frozen, because what is frozen "
    "has never been trained. Its paper tunes pretrained models."
)

_BELOW_THE_HEAD = (
    "Why arms lie below the head alone: it is the statistics that move. With `statistics=moving` frozen weights meet "
    "those of batches of 16 that they were not made for, and GreenTrainer, which may train any tensor at some time, "
    "moves all of them. Held still, at a rate of 0.001, its choice is 11.5 points higher (paired, +7.0 to +16.0) and "
    "not below the head alone any more (+4.8, -4.3 to +13.9); that rate was looked up in the table below, not chosen "
    "by other data. At its own rate of 0.003 nothing that normalises is left and some runs fail, as full tuning does."
)


def _told(what: str, pairs: Sequence[tuple[str, Mapping[int, float], Mapping[int, float]]]) -> list[str]:
    """One line a pair; a pair without three common seeds says so."""
    lines = []
    for label, found, other in pairs:
        gap = paired_difference(found, other) if len(found.keys() & other.keys()) >= 3 else None
        if gap is not None and gap.low is not None and gap.high is not None:
            lines.append(f"- {label}: {100 * gap.mean:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})")
        else:
            lines.append(f"- {label}: {len(found.keys() & other.keys())} seeds in common, three are needed")
    return [f"\nAgainst {what}, paired over seeds, 95 %:\n", *lines] if lines else []


_USUAL = (("select", "dynamics"), ("select", "importance"))


def _label(row: Row) -> str:
    kept = {k: v for k, v in row["settings"].items() if k != "lr" and (k, v) not in _USUAL}
    words = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in kept.items()]
    return " ".join([row["method"], f"lr={row['settings'].get('lr', 0):g}", *words])


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
