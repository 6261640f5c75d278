"""Writes docs/zeroqat.md from what ``zeroqat.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import figures
from workbench.core.units import format_size
from workbench.figures.mpl import to_svg
from workbench.lens.code_flips import Flips
from workbench.papers import paper
from workbench.stats import mean, t_interval
from workbench.studies.quantized_arms import Outcome

PAGE = Path(__file__).resolve().parents[1] / "docs" / "zeroqat.md"
#: What is set against what: (arm, rival).
PAIRS = (
    ("ZeroQAT", "round to nearest"),
    ("ZeroQAT", "clip, then round"),
    ("ZeroQAT", "GPTQ"),
    ("ZeroQAT", "straight-through QAT"),
    ("ZeroQAT", "lazy: rounded weights"),
    ("ZeroQAT with transform", "transform and clip, then round"),
    ("ZeroQAT with transform", "ZeroQAT"),
    ("ZeroQAT light", "round to nearest"),
    ("ZeroQAT light", "light, not trained"),
    ("ZeroQAT light", "GPTQ"),
    ("GPTQ", "round to nearest"),
)


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n")


def page(stored: Mapping[str, Any]) -> list[str]:
    host, row = stored["host"], paper(4)
    lines = [
        "# Few bits without going backwards\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/zeroqat.py\n```\n",
        f"on {host['cores']} cores ({host['machine']}, {host['processor']}), {host['threads']} thread, torch "
        f"{host['torch']}, {stored['when']}. Method `zeroqat`, after *{row.title}* ({row.year}). The paper's headline "
        f"({row.provenance}): {row.headline}. Nothing of that size runs here.\n",
        "Linear layers but the output layer have weights of the given bits with a range for each output channel, and "
        "8-bit inputs with a range for each token. All arms of a bench start from the same float weights; seeds move "
        "the order of examples and the noise. Arms that do not train have one run. ZeroQAT "
        "starts with clips at 95 % of the extremes, so *clip, then round* is what it is before training. The light "
        "variant's frozen layers are rounded without a clip; only where *light, not trained* has a line is it known "
        "what its training adds. Calibration "
        "sees four training "
        "batches. GPTQ is computed exactly, column by column, with the quantized model's own inputs; of the paper's "
        "transform only the factors are made, not the shifts; *with transform* they are calibrated, then trained with "
        "the rest. Perturbation 1e-3."
        " Where several rates were tried, the least training loss "
        "of the first seed at the first width decided, for all widths; which rates were tried at all came from a pilot "
        "of 30 steps on MiniLM (one seed) that also saw loss on these test examples. Bytes are measured; *error* "
        "is predicted less measured peak of the step.",
    ]
    for name, bench in stored["benches"].items():
        lines += section(name, bench)
    return lines


def section(name: str, bench: Mapping[str, Any]) -> list[str]:
    runs = list(bench.get("runs", {}).values())
    batch, _, _, steps, lr = bench["start"]
    origin = f"{steps} steps of full tuning, {batch} examples each, at {lr:g}" if steps else "the published weights"
    lines = [
        f"\n## {name}, {bench['task']}, {bench['steps']} steps of {bench['batch']}\n",
        f"Float start: {origin}; score {bench['float']['score']:.3f}, held-out loss {bench['float']['loss']:.4f} on "
        f"{bench['test']} test examples.\n",
        "| bits | arm | score (95 %) | held-out loss (95 %) | codes moved | rate | weights | saved | peak | error |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    keys = sorted(dict.fromkeys((r["bits"], r["arm"]) for r in runs), key=lambda key: key[0])
    lines += [line([r for r in runs if (r["bits"], r["arm"]) == key]) for key in keys]
    tried = {k: v for k, v in bench.get("tried", {}).items() if len(v["last"]) > 1}
    for key, found in tried.items():
        arm, bits = key.split("|")
        losses = ", ".join(f"{rate} gave {loss:.4f}" for rate, loss in found["last"].items())
        lines.append(f"\nRates of {arm} at {bits} bits, by training loss: {losses}.")
    return [*lines, *said(runs), *drawn(name, bench), *reached(bench.get("flips", {}))]


def drawn(name: str, bench: Mapping[str, Any]) -> list[str]:
    """The picture of loss by width, where there are several widths."""
    runs = bench.get("runs", {}).values()
    if len({r["bits"] for r in runs}) < 2:
        return []
    fields = ("arm", "bits", "seed", "lr", "score", "loss", "moved")
    outcomes = [Outcome(**{k: r[k] for k in fields}, profile=None, predicted=None) for r in runs]
    flips = [
        (int(bits), Flips(**{k: v for k, v in f.items() if k != "scales"}))
        for bits, found in bench.get("flips", {}).items()
        for f in found
        if f["scales"] == "learned"
    ]
    info = figures.few_bits(outcomes, bench["float"]["loss"], sorted(flips, key=lambda f: f[0]))
    picture = to_svg(info).replace("currentColor", "#7D8590")
    file = PAGE.parent / f"zeroqat-{name}.svg"
    file.write_text(picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
    return [f"\n![{info.alt}]({file.name})\n", info.caption]


def line(found: Sequence[Mapping[str, Any]]) -> str:
    one = found[0]
    sizes = one.get("by_category", {})
    moved = [r["moved"] for r in found if r["moved"] is not None]
    cells = [
        str(one["bits"]),
        one["arm"],
        shown([r["score"] for r in found], 3),
        shown([r["loss"] for r in found], 4),
        f"{mean(moved):.2%}" if moved else "–",
        f"{one['lr']:g}" if one["lr"] else "–",
        format_size(sizes["weights"]) if sizes else "–",
        format_size(one["saved"]) if sizes else "–",
        format_size(one["peak"]) if sizes else "–",
        f"{one['predicted'] - one['peak']:+,} B" if sizes and one["predicted"] is not None else "–",
    ]
    return f"| {' | '.join(cells)} |"


def shown(values: Sequence[float], digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    found = t_interval(list(values))
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def said(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Comparisons of held-out loss by width, in words that follow from the intervals."""
    widths = sorted({r["bits"] for r in runs})
    rows = []
    for ours, rival in PAIRS:
        told = [
            compared(*([r["loss"] for r in runs if (r["bits"], r["arm"]) == (bits, a)] for a in (ours, rival)))
            for bits in widths
        ]
        if any(told):
            rows.append(f"| {ours} | {rival} | {' | '.join(t or '–' for t in told)} |")
    head = f"\n| held-out loss of | less that of | {' | '.join(f'{b} bits' for b in widths)} |"
    return [head, "|---" * (2 + len(widths)) + "|", *rows]


def compared(ours: Sequence[float], rival: Sequence[float]) -> str:
    """Paired by seed where the rival has as many runs, else against its one number."""
    if not ours or not rival:
        return ""
    against = list(rival) if len(rival) == len(ours) else [rival[0]] * len(ours)
    differences = [a - b for a, b in zip(ours, against)]
    if len(differences) < 2:
        return f"{differences[0]:+.4f} (one run each)"
    found = t_interval(differences)
    told = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    assert found.low is not None and found.high is not None
    return f"{told}, {'better' if found.high < 0 else 'worse' if found.low > 0 else 'not told apart'}"


def reached(flips: Mapping[str, Any]) -> list[str]:
    if not flips:
        return []
    lines = [
        "\n### What the noise reaches\n",
        "| bits | range | perturbation | codes flipped | slopes exactly 0 | slope, codes held, of the whole | cosine |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for bits, found in flips.items():
        for f in found:
            held = f"{f['size_held'] / f['size']:.2f}" if f["size"] else "–"
            kinship = "–" if f["kinship"] is None else f"{f['kinship']:.3f}"
            cells = (bits, f["scales"], f"{f['eps']:g}", f"{f['flipped']:.3%}", f"{f['silent']:.0%}", held, kinship)
            lines.append(f"| {' | '.join(cells)} |")
    usual = [(b, f) for b, found in flips.items() for f in found if (f["eps"], f["scales"]) == (1e-3, "learned")]
    told = "; ".join(
        f"at {b} bits {f['flipped']:.1%} of the codes flip and the slope with codes held has a cosine of "
        f"{f['kinship']:.2f} to the whole" for b, f in usual if f["kinship"] is not None
    )  # fmt: skip
    lines.append(
        f"\nAt the usual perturbation of 1e-3, {told} ({usual[0][1]['draws']} directions of one batch: few). Where "
        "that cosine is near 1, what training hears is the scales, clips, biases, norms and tables that move without "
        "any integer changing; where it is not, the integers answer: a slope that is larger with codes held says that "
        "flips undo part of what moving ranges do. With rounded weights no integer flips at small noise, and whatever "
        "such training gains comes from elsewhere."
    )
    return lines
