"""Write ``docs/microcontroller.md``: planned steps of integer nets line by line, and what the arms learned.

Plans are exact and instant. Scores come from the runs of the microcontroller page (finished ones are kept).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import workbench as wb
from workbench import figures, papers
from workbench.devices import get
from workbench.figures.table import Table
from workbench.studies import microcontroller as micro
from workbench.studies.tuned_arms import tuned_arms

PAGE = Path(__file__).parents[1] / "docs" / "microcontroller.md"
DEVICE, BUDGET = "stm32f746", 256 * 1024


def markdown(table: Table) -> str:
    """A table as text, with its caption below."""
    head = [column.title for column in table.columns]
    rows = [[table.shown(row, column) for column in table.columns] for row in table.rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{table.caption}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="standard", help="preset of the microcontroller page")
    preset = micro.preset(parser.parse_args().profile)
    device = get(DEVICE)
    nets = ("mcu-watch", "mcu-net", "efficientnet-lite0")
    plans = micro.plans({net: wb.open("pixels", net, DEVICE, "64 GiB", batch=1) for net in nets})
    bench = micro.bench_for(preset, DEVICE)
    arms = tuned_arms(bench, micro.METHOD, micro.ARMS, micro.grids(preset), preset.seeds)
    learned = micro.learned(
        [micro.on_device(bench, preset.device_steps), micro.pictures_bench(preset, DEVICE)], preset.seeds, lr=micro.RATE
    )
    row = papers.paper(5)
    refusals = {label: plan.refusal(device, BUDGET) for label, plan in plans.items()}
    parts = [
        "# Training an int8 net within 256 KB\n",
        "Written by\n\n```\nOMP_NUM_THREADS=1 python benchmarks/microcontroller.py\n```\n",
        f"{figures.microcontroller_answer(plans['mcu-net, sparse'], plans['mcu-net, everything'], arms, BUDGET)}\n",
        "## What fits\n",
        markdown(figures.plans_table(plans, refusals)),
        "## The sparse step of mcu-net, line by line\n",
        markdown(figures.sram_table(plans["mcu-net, sparse"])),
        f"## Arms on {preset.task}, {preset.model} from random weights, {preset.steps} steps of {preset.batch}\n",
        markdown(figures.tuned_table(arms)),
        f"The paper ({row.provenance}): {row.headline}. Its nets are pretrained, its scores means over several data "
        "sets; compare directions.\n",
        "## One example a step\n",
        markdown(figures.learned_table(learned)),
    ]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
