"""Print tables for ``docs/microcontroller.md``: planned steps of integer nets, and what the arms learned.

Plans are exact and instant, ``--plans`` prints nothing else. Scores come from the runs of the microcontroller page;
finished ones are kept.
"""

from __future__ import annotations

import argparse

import workbench as wb
from workbench import figures
from workbench.devices import get
from workbench.figures.table import Table
from workbench.studies import microcontroller as micro
from workbench.studies.tuned_arms import tuned_arms

DEVICE, BUDGET = "stm32f746", 256 * 1024


def markdown(table: Table) -> str:
    """A table as text, with its caption below."""
    head = [column.title for column in table.columns]
    rows = [[table.shown(row, column) for column in table.columns] for row in table.rows]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{table.caption}\n"


def planned() -> list[str]:
    """What fits, and the sparse step of the larger small net line by line."""
    nets = ("mcu-watch", "mcu-net", "efficientnet-lite0")
    plans = micro.plans({net: wb.open("pixels", net, DEVICE, "64 GiB", batch=1) for net in nets})
    refusals = {label: plan.refusal(get(DEVICE), BUDGET) for label, plan in plans.items()}
    return [
        "## What fits\n",
        markdown(figures.plans_table(plans, refusals)),
        "## The sparse step of mcu-net, line by line\n",
        markdown(figures.sram_table(plans["mcu-net, sparse"])),
    ]


def trained(preset: micro.Preset) -> list[str]:
    """Every arm at its own rate, and what one example a step teaches."""
    bench = micro.bench_for(preset, DEVICE)
    arms = tuned_arms(bench, micro.METHOD, micro.ARMS, micro.grids(preset), preset.seeds)
    alone, pictures = micro.on_device(bench, preset.device_steps), micro.pictures_bench(preset, DEVICE)
    return [
        f"## Arms on {preset.task}, {preset.model} from random weights, {preset.steps} steps of {preset.batch}\n",
        markdown(figures.tuned_table(arms)),
        "## One example a step\n",
        markdown(figures.learned_table(micro.learned([alone, pictures], preset.seeds, lr=micro.RATE))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="standard", help="preset of the microcontroller page")
    parser.add_argument("--plans", action="store_true", help="plans only; nothing is trained")
    given = parser.parse_args()
    print("\n".join(planned() if given.plans else [*planned(), *trained(micro.preset(given.profile))]))


if __name__ == "__main__":
    main()
