"""Writes docs/microcontroller.md from what ``microcontroller.py`` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lean_charts as charts
from microcontroller_drawings import bytes_info, drawings, ratios_info

from workbench.core.units import format_size
from workbench.figures.info import percent
from workbench.stats import Interval, mean, paired_difference, score_interval
from workbench.studies.microcontroller import SCHEMES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "microcontroller.md"
TEST_EXAMPLES = 600
Row = Mapping[str, Any]


def write(stored: Mapping[str, Any]) -> None:
    PAGE.write_text("\n".join(page(stored)) + "\n", encoding="utf-8")
    for name, info in drawings(stored).items():
        charts.draw(info, name)


def page(stored: Mapping[str, Any]) -> list[str]:
    lines = [_HEAD.format(dates=_dates(stored["parts"]))]
    for name, section in _SECTIONS.items():
        lines += section(stored["parts"][name]["found"])
        if name == "arms":
            lines += _mcu_chart()
    return lines


def _dates(parts: Mapping[str, Row]) -> str:
    """When each part was measured, and what for those whose runs are not kept."""
    days: dict[str, list[str]] = {}
    for name, part in parts.items():
        days.setdefault(f"{part['when'][:16]}{' (' + part['note'] + ')' if 'note' in part else ''}", []).append(name)
    return "; ".join(f"`{', '.join(names)}` of {when}" for when, names in days.items())


def _plans(found: Row) -> list[str]:
    lines = ["\n## What fits\n", "| Step | Fits | SRAM | of it arena | Flash |", "| --- | --- | --- | --- | --- |"]
    for row in found["steps"]:
        sizes = " | ".join(format_size(row[k]) for k in ("sram", "arena", "flash"))
        lines.append(f"| {row['step']} | {'cannot' if row['refusal'] else 'fits'} | {sizes} |")
    lines += [
        _PLANNED.format(sparse=SCHEMES["sparse"]["update"]),
        "| step | peak, in place | peak, at the end | gradients, in place | gradients, at the end |",
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for row in found["orders"]:
        lines.append(f"| {row['step']} | {' | '.join(map(format_size, (*row['peaks'], *row['gradients'])))} |")
    (sparse,) = (row for row in found["orders"] if row["step"] == "mcu-net, sparse")
    early, late = (size // 1024 for size in sparse["peaks"])
    lines += [_IN_PLACE.format(early=early, late=late), "| What | Kind | Bytes |", "| --- | --- | --- |"]
    (step,) = (row for row in found["steps"] if row["step"] == "mcu-net, sparse")
    ledger = sorted(found["lines"], key=lambda line: -line["size"])
    for line in (*ledger, {"label": "all of SRAM", "kind": "total", "size": step["sram"]}):
        lines.append(f"| {line['label']} | {line['kind']} | {format_size(line['size'])} |")
    return [*lines, _EXACT.format(sram=step["sram"], arena=step["arena"], fullest=found["fullest"])]


def _arms(rows: Sequence[Row]) -> list[str]:
    off = max(abs(row["error"] or 0) for row in rows)
    lines = [
        _ARMS.format(off=off),
        "| arm | rate | last training loss by rate | score (95 %) | score by seed |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        seeds = ", ".join(f"{100 * s:.1f}" for s in row["scores"])
        cells = (
            _NAMES.get(row["label"], row["label"]),
            f"{row['lr']:g}{_edge(row)}",
            _grid(row),
            _spread(row["scores"]),
        )
        lines.append(f"| {' | '.join(cells)} | {seeds} % |")
    by = {row["label"]: row for row in rows}
    scores = {label: dict(enumerate(row["scores"])) for label, row in by.items()}
    qas, plain, real = scores["int8 QAS"], scores["int8 SGD"], scores["float SGD"]
    copy, mask = by["lazy: fake int8 over a float copy"], by["lazy: sparse by masking"]
    over, lars = paired_difference(scores["int8 LARS"], plain), paired_difference(scores["int8 LARS"], qas)
    return [
        *lines,
        f"\n- QAS against plain int8 SGD: {_gap(paired_difference(qas, plain))}. The paper (authors' figure, averages "
        "over data sets, pretrained nets): 86.9 against 75.4.",
        f"- QAS against float SGD: {_gap(paired_difference(qas, real))}. The paper: 86.9 against 86.0.",
        f"- LARS: the paper has it below plain int8 SGD (64.8 against 75.4); here it is {_gap(over)}, and against QAS "
        f"{_gap(lars)}. **Not reproduced at this scale**: the net starts from random weights, where a step that is a "
        "fixed share of each norm is what is wanted.",
        "- The lazy arms give themselves away by their bytes: the float copy takes "
        f"{format_size(copy['weights'])} of weights instead of {format_size(by['int8 QAS']['weights'])}, masking keeps "
        f"{format_size(mask['saved'])} for backward instead of {format_size(by['int8 QAS, sparse']['saved'])}.",
        _AFTER_ARMS,
    ]


def _ratios(found: Row) -> list[str]:
    info = ratios_info(found)
    return [f"\n## {info.title}\n", f"![{info.alt}](microcontroller-ratios.svg)\n", info.caption]


def _gains(found: Row) -> list[str]:
    lines = ["\n## Which tensors are worth their bytes\n", "| What trains | Gain in score (95 %), points | Chosen |"]
    lines.append("| --- | --- | --- |")
    for row in found["rows"]:
        gap = paired_difference(dict(enumerate(row["scores"])), dict(enumerate(row["over"])))
        lines.append(f"| {row['what']} | {_gap(gap)} | {row['chosen']} |")
    lines += [
        f"\n{found['caption']}",
        _SEARCHES,
        "| Budget of the search | SRAM | biases | weights |",
        "|---|---|---|---|",
    ]
    for one in found["searches"]:
        sizes = f"{format_size(one['budget'])} | {format_size(one['sram'])}"
        lines.append(f"| {sizes} | the last {one['biases']} | `{one['update']}` |")
    return [*lines, _GAINS]


def _biases(rows: Sequence[Row]) -> list[str]:
    head, *others = rows
    alone = f"the head alone {100 * mean(head['scores']):.1f} % (rate {head['lr']:g})"
    said = []
    for row in others:
        gap = paired_difference(dict(enumerate(row["scores"])), dict(enumerate(head["scores"])))
        said.append(f"the last {row['biases']} biases {_gap(gap)} (rate {row['lr']:g})")
    return [
        f"\nOn the same windows set aside, but each at its own rate, paired over seeds, 95 %: {alone}; "
        f"{'; '.join(said)}. Weights, and the search, were not repeated with a rate of their own for each row.",
        _NOISE,
    ]


def _bytes(found: Row) -> list[str]:
    info = bytes_info(found)
    lines = ["\n## What further bytes buy\n", f"![{info.alt}](microcontroller-bytes.svg)\n"]
    lines.append("| family | what trains | extra SRAM | rate | last training loss by rate | score (95 %) |")
    lines.append("|---|---|---:|---:|---|---|")
    for row in found["rows"]:
        score = f"{percent(row['score'])} ({percent(row['low'])} to {percent(row['high'])}; {row['count']} seeds)"
        what = f"{row['family']} | {row['label']} | {format_size(row['extra'])} | {row['lr']:g} | {_grid(row)}"
        lines.append(f"| {what} | {score} |")
    told = ", ".join(f"{name} {_short(gap)}" for name, gap in _against_head(found).items())
    return [
        *lines,
        f"\n{info.caption}",
        f"\nAgainst the head alone, paired over seeds, 95 %, in points: {told}.",
        _BYTES,
        _searched(found),
    ]


def _searched(found: Row) -> str:
    """Schemes that a search found within less, and the one written by hand, beside layers and biases."""
    rows = {row["label"]: row for row in found["rows"]}
    said = []
    for one, other in (("searched, 64 KiB", "4 layers"), ("searched, 32 KiB", "8 biases"), ("by hand", "searched")):
        a, b = rows[one], rows[other]
        gap = paired_difference(*(dict(enumerate(row["scores"])) for row in (a, b)))
        sizes = f"{format_size(a['extra'])} beyond the head against {format_size(b['extra'])}"
        said.append(f"*{one}* against *{other}* ({sizes}): {_gap(gap)}")
    return f"- Paired over seeds, 95 %: {'; '.join(said)}. None of these was corrected for their number."


def _against_head(found: Row) -> dict[str, tuple[float, float, float]]:
    """Paired differences in points, of the seeds' scores; where those are not kept, as they were computed then."""
    if "against the head" in found:
        return {name: tuple(gap) for name, gap in found["against the head"].items()}
    scores = {row["label"]: dict(enumerate(row["scores"])) for row in found["rows"]}
    head, gaps = scores.pop("head alone"), {}
    for name, some in scores.items():
        gap = paired_difference(some, head)
        if gap is not None and gap.low is not None and gap.high is not None:
            gaps[name] = (100 * gap.mean, 100 * gap.low, 100 * gap.high)
    return gaps


def _example(rows: Sequence[Row]) -> list[str]:
    lines = [_EXAMPLE, "| task | net | what trains | rate | score (95 %) | SRAM, planned | trained numbers |"]
    lines.append("|---|---|---|---:|---|---|---|")
    for row in rows:
        score = _spread(row["scores"]) if row["scores"] else "{:.1f} % ({:.1f} to {:.1f})".format(*row["spread"])
        what = f"{_TASKS[row['task']]} | {row['label']} | {row['lr']:g} | {score}"
        lines.append(f"| {what} | {format_size(row['sram'])} | {row['trained']:,} |")
    return [*lines, _AFTER_EXAMPLE]


def _mcu_chart() -> list[str]:
    import json

    import lean_backward_page as lean

    path = Path(__file__).resolve().parent / "results" / "lean_backward.json"
    info = lean.drawings(json.loads(path.read_text(encoding="utf-8"))).get("lean-chart-mcu-net")
    if info is None:
        return []
    return [*charts.embedded(info, "lean-chart-mcu-net"), _CHART]


def _edge(row: Row) -> str:
    """A best rate at the end of its grid may not be the best there is."""
    return " (edge of its grid)" if row["lr"] in (min(rates := [*map(float, row["losses"])]), max(rates)) else ""


def _grid(row: Row) -> str:
    return "; ".join(f"{r}: {'diverged' if loss is None else f'{loss:.2f}'}" for r, loss in row["losses"].items())


def _spread(scores: Sequence[float]) -> str:
    found: Interval = score_interval(scores, TEST_EXAMPLES)
    return f"{100 * found.mean:.1f} % ({100 * (found.low or 0):.1f} to {100 * (found.high or 0):.1f})"


def _gap(found: Interval | None) -> str:
    assert found is not None and found.low is not None and found.high is not None
    apart = "" if found.low > 0 or found.high < 0 else ": not told apart"
    return f"{_short((100 * found.mean, 100 * found.low, 100 * found.high), ' points')}{apart}"


def _short(gap: tuple[float, float, float], unit: str = "") -> str:
    return f"{gap[0]:+.1f}{unit} ({gap[1]:+.1f} to {gap[2]:+.1f})"


_NAMES = {
    "int8 QAS": "int8 with QAS",
    "int8 QAS, sparse": "int8 with QAS, sparse scheme",
    "lazy: sparse by masking": "lazy: the same by masking all gradients",
}
_TASKS = {
    "watch-exercises": "smart watch | mcu-watch, random weights",
    "fashion-mnist": "Fashion-MNIST | mcu-net, its factory has seen digits",
}
_HEAD = """# Training an int8 net within 256 KB

The method is `int8-training` (*On-Device Training Under 256KB Memory*, 2022). Its page is `pintpot report train-on-a-microcontroller`. Written by

```
OMP_NUM_THREADS=1 python benchmarks/microcontroller.py
```

with {dates}. Plans are exact: for `mcu-net` and `mcu-watch` forward and backward pass, performed inside the planned arena, give the same integers as outside it (`tests/lens/test_microcontroller.py`); updates and the head are planned but not performed there. Budget: 256 KiB of the STM32F746's SRAM, 1 MiB of flash. One example a step.

What is integer: weights, biases, maps, saved slices, gradients of maps and of weights, every product and sum, every rescaling of maps. What is float: one scale a channel, layer and gradient, the head, and the one tensor that is being updated. A CPU emulates the arithmetic; int64 intermediates of that emulation are this host's workspace and no part of a plan."""  # noqa: E501
_PLANNED = """
Predicted from the plan of one step on one example; nothing runs. Flash holds the net, not the code. *Sparse* was written by hand, not found by a search: the last 16 biases and weights `{sparse}` (convolution from the end: share of its input channels). It is not what the search below finds. Heads are of 10 classes; the watch has 7, with which the steps of `mcu-watch` take a little less (*One example a step*, below).

## Updated in place or at the end
"""  # noqa: E501
_IN_PLACE = """
Bytes of buffers that are alive at each instruction of the planned step; trained tensors and the state of their update rule lie beside them. Maps are int8 and gradients of weights int32, so waiting gradients decide the peak.

The paper (authors' figure, peak of MCUNet): 3650 KB for everything, 560 sparse, 173 sparse and in place. Here in-place updates take `mcu-net`'s sparse step from {late} to {early} KiB of live buffers, which is what lets it fit.

## The sparse step of mcu-net, line by line
"""  # noqa: E501
_EXACT = """
Predicted, exact: {sram:,} bytes, of which {arena:,} are the planned arena, fullest at {fullest}. Its forward and backward pass, performed inside an arena of that size, give the same integers as outside it; an update, made from each sum where it lies, is not performed there. Code, stack and the sensor's own buffer are not in it."""  # noqa: E501
_ARMS = """
## Arms on the smart watch

`mcu-watch` from random weights, everything trained unless the arm says otherwise, 150 steps of 16 windows, 600 windows of unseen people as the test. Each arm has three rates of its own; the one with the lowest training loss of seed 0 was taken, the test score played no part. Scores are means over three seeds with 95 % intervals. Predicted and measured peak differ by {off} bytes in these runs.
"""  # noqa: E501
_AFTER_ARMS = """- The sparse scheme from random weights learns far less than everything in 150 steps: what it leaves alone was never trained.

A pretrained EfficientNet-Lite0 quantized without data keeps its features: cosine 0.95 on eight pictures, 0.90 at least."""  # noqa: E501
_SEARCHES = """
The same gains searched under budgets of SRAM. The dearest scheme of the table needs less than 128 KiB, so the chosen one, searched there, takes what promises most and its budget binds nothing; the smaller ones do bind. What each of the three learns, and the scheme written by hand, stands under *What further bytes buy*.
"""  # noqa: E501
_GAINS = """
**The head alone is below its best here.** 0.1 is the sparse arm's rate; the head alone wants ten times that, and at 1 it scores 51.3 % (on the test set, the next table; at 0.1 its training loss stays at 1.45 instead of 1.03). There, each at its own rate, the last 16 biases are not told apart from the head alone, where this table has +4.00 %. So the gains of biases, and the search that adds them up, are biased towards biases."""  # noqa: E501
_NOISE = """
Gains are small beside their noise (300 windows of one person, three seeds): read each interval for itself; eleven are read at once. Additivity was not tested."""  # noqa: E501
_BYTES = """
- The head alone wants a rate of 1, ten times that of everything. At 0.3, the highest rate that was tried at first, it stood at 46.8 %, and every scheme looked better than it is. Plain int8 SGD on everything, whose best rate is 1 as well, ends where the head alone does (50.7 against 51.3 %).
- The searched scheme and the 16 biases alone, a fifth of its bytes, are not told apart (-0.1, -3.7 to +3.6). **That a searched scheme beats the last layers at fewer bytes is not reproduced at this scale**: from random weights what a sparse scheme leaves alone was never trained, and 300 windows of one person are few to choose by. The authors' table for a pretrained MCUNet on Flowers-102: 88.84 % searched at 100 KB, 87.74 % with the last 12 layers at 448 KB."""  # noqa: E501
_EXAMPLE = """
## One example a step

800 steps of one example each, three seeds; each row at the one of four rates (0.005, 0.02, 0.08, 0.3) with the lowest training loss of seed 0. Scores are measured means with 95 % intervals, SRAM is that of the plan, with the 7 classes of the watch and the 10 of Fashion-MNIST.
"""  # noqa: E501
_AFTER_EXAMPLE = """
Both nets learn their task one example at a time within 256 KiB, and the sparse scheme learns more than the head alone: +4.4 points on the watch (paired, +1.3 to +7.6), +4.0 on Fashion-MNIST (+0.4 to +7.6). With one rate of 0.02 for all, which stood here first, the second gap seemed twice as wide, because the head's own rate is four times that."""  # noqa: E501
_CHART = """
`int8-training` is emulated here: its worst step and seconds are of this host, and it trains the default scheme (the last 8 biases, `-1:1/4,-4:1/2`) on a schedule of 60 steps: none of the plans above, and not the sparse scheme of *One example a step*, which learns more than the head alone there where this one does not. Its products are of integers and on no axis of floating-point operations. Arms, rates and differences stand on [the lean page](lean-backward.md)."""  # noqa: E501

_SECTIONS = {
    "plans": _plans, "arms": _arms, "ratios": _ratios, "gains": _gains, "biases": _biases, "bytes": _bytes,
    "example": _example,
}  # fmt: skip
