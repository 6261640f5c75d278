"""Print tables for ``docs/microcontroller.md``: planned steps of integer nets, and what the arms learned.

Plans are exact and instant, ``--plans`` prints nothing else. Scores come from the runs of the microcontroller page;
finished ones are kept. Two pictures are drawn beside the page.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import workbench as wb
from workbench import figures, progress
from workbench.core.units import format_size
from workbench.devices import get
from workbench.figures.extra_bytes import ExtraBytesInfo
from workbench.figures.info import FigureInfo, percent
from workbench.figures.mpl import to_svg
from workbench.figures.table import Table
from workbench.figures.update_order import UpdateOrderInfo
from workbench.studies import microcontroller as micro
from workbench.studies.byte_arms import RATES, ByteArm, byte_arms
from workbench.studies.contribution import search_bytes
from workbench.studies.norm_ratios import norm_ratios
from workbench.studies.tuned_arms import tuned_arms

DOCS = Path(__file__).resolve().parents[1] / "docs"
DEVICE, BUDGET = "stm32f746", 256 * 1024


def markdown(table: Table) -> str:
    """A table as text, with its caption below."""
    head = [column.title for column in table.columns]
    rows = [[table.shown(row, column) for column in table.columns] for row in table.rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{table.caption}\n"


def in_place(found: UpdateOrderInfo) -> str:
    """The orders of every planned step: the peak of its buffers, and the most that waits as gradients of weights."""
    lines = ["| step | peak, in place | peak, at the end | gradients, in place | gradients, at the end |"]
    lines.append("|---|---:|---:|---:|---:|")
    for pair in found.pairs:
        early, late = pair.lines
        sizes = (early.peak, late.peak, early.most_gradients, late.most_gradients)
        lines.append(f"| {pair.way} | {' | '.join(map(format_size, sizes))} |")
    return "\n".join(lines) + f"\n\n{found.caption}\n"


def picture(info: FigureInfo, name: str) -> str:
    """Draw beside the page, and name the drawing in it."""
    drawn = to_svg(info).replace("currentColor", "#7D8590")
    (DOCS / f"microcontroller-{name}.svg").write_text(drawn)
    return f"![{info.alt}](microcontroller-{name}.svg)\n"


def extra(found: ExtraBytesInfo, arms: list[ByteArm]) -> str:
    """Score by extra bytes with the grid that each rate was chosen from."""
    losses = {a.label: a.losses for a in arms}
    lines = ["| family | what trains | extra SRAM | rate | last training loss by rate | score (95 %) |"]
    lines.append("|---|---|---:|---:|---|---|")
    for line in found.lines:
        for p in line.points:
            grid = "; ".join(
                f"{rate:g}: {'diverged' if loss is None else f'{loss:.2f}'}" for rate, loss in losses[p.label].items()
            )
            score = f"{percent(p.score)} ({percent(p.low)} to {percent(p.high)}; {p.count} seeds)"
            lines.append(f"| {line.group} | {p.label} | {format_size(p.extra)} | {p.lr:g} | {grid} | {score} |")
    return "\n".join(lines) + f"\n\n{found.caption}\n"


def planned() -> list[str]:
    """What fits, when bytes are held, and the sparse step of the larger small net line by line."""
    nets = ("mcu-watch", "mcu-net", "efficientnet-lite0")
    benches = {net: wb.open("pixels", net, DEVICE, "64 GiB", batch=1) for net in nets}
    plans, order = micro.plans(benches), figures.planned_order(micro.both_orders(benches))
    refusals = {label: plan.refusal(get(DEVICE), BUDGET) for label, plan in plans.items()}
    return [
        "## What fits\n",
        markdown(figures.plans_table(plans, refusals)),
        "Heads are of 10 classes; the watch has 7.\n",
        "## Updated in place or at the end\n",
        in_place(order),
        "## The sparse step of mcu-net, line by line\n",
        markdown(figures.sram_table(plans["mcu-net, sparse"])),
    ]


def trained(preset: micro.Preset) -> Iterator[str]:
    """Every arm at its own rate, what bytes buy, when they are held, and what one example a step teaches."""
    bench, said = micro.bench_for(preset, DEVICE), progress.names("runs", None)
    with said as tell:
        yield f"## Arms on {preset.task}, {preset.model} from random weights, {preset.steps} steps of {preset.batch}\n"
        arms = tuned_arms(bench, micro.METHOD, micro.ARMS, micro.grids(preset), preset.seeds, progress=tell)
        yield markdown(figures.tuned_table(arms))
        ratios = figures.norm_ratios(norm_ratios(bench))
        yield f"## {ratios.title}\n\n{picture(ratios, 'ratios')}\n{ratios.caption}\n"
        yield "## Which tensors are worth their bytes\n"
        gains = micro.gains(bench, preset, arms, progress=tell)
        scheme = search_bytes(bench, gains, BUDGET // 2, trials=120)
        yield markdown(figures.contribution_table(gains, scheme)) + f"\nThe scheme: {scheme.settings}\n"
        asked = {"counts": preset.biases, "rates": micro.fewer(preset, RATES)}
        spent = byte_arms(bench, {"searched": scheme.settings}, preset.seeds, progress=tell, **asked)
        bought = figures.extra_bytes(spent)
        yield f"{picture(bought, 'bytes')}\n{extra(bought, spent)}"
        yield "## One example a step\n"
        alone, pictures = micro.on_device(bench, preset.device_steps), micro.pictures_bench(preset, DEVICE)
        rates = micro.fewer(preset, micro.RATES)
        yield markdown(figures.learned_table(micro.learned([alone, pictures], preset.seeds, rates)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="standard", help="preset of the microcontroller page")
    parser.add_argument("--plans", action="store_true", help="plans only; nothing is trained")
    given = parser.parse_args()
    rest = () if given.plans else trained(micro.preset(given.profile))
    for said in itertools.chain(planned(), rest):
        print(said, flush=True)


if __name__ == "__main__":
    main()
