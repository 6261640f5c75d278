"""R4: trainings killed at random moments go on to the bits they would have had."""

from __future__ import annotations

import random
import time
from pathlib import Path

from faults import trainer
from faults.children import child
from faults.frame import Experiment, Figures, Setting
from faults.training import EVERY, STEPS, WAYS, train

#: Kills of one training before it may end.
KILLS = 3


def _reference(way: str) -> str:
    messages = child(train, way, None).rest()
    assert messages and messages[-1][0] == "done", f"{way} did not train: {messages}"
    found: str = messages[-1][1]
    return found


def _killed_until_done(way: str, folder: Path, chance: random.Random, weakened: str) -> tuple[str, int, int]:
    """Kill a training ``KILLS`` times, each after a checkpoint of its own; the bits it ends with, kills, torn writes.

    A kill before the first checkpoint would prove nothing, so the moment is drawn from the time after it.
    """
    torn = done = 0
    while True:
        running = child(train, way, folder, weakened)
        first = running.hear()
        if done < KILLS and first[0] == "step" and first[1] + EVERY < STEPS - 1:
            until = chance.randint(first[1] + EVERY, min(first[1] + 2 * EVERY, STEPS - 2))
            step = first[1]
            while step < until:
                step = running.hear()[1]
            time.sleep(chance.uniform(0, 0.03))
            said = running.kill()
            if not said or said[-1][0] != "done":
                done += 1
                torn += len(list(folder.glob("*.tmp")))
                continue
            return said[-1][1], done, torn  # it was quicker than the kill
        last = ([first, *running.rest()])[-1]
        running.process.join()
        return (last[1] if last[0] == "done" else "did not end"), done, torn


def _counted(setting: Setting, ways: list[str], weakened: dict[str, str]) -> Figures:
    chance = random.Random(setting.seed)
    exact = dict.fromkeys(ways, 0)
    runs, kills, torn, number = dict.fromkeys(ways, 0), 0, 0, 0
    wanted = {way: _reference(way) for way in ways}
    while kills < setting.size:
        for way in ways:
            folder = setting.folder / f"{number}"
            number += 1
            found, more, half = _killed_until_done(way, folder, chance, weakened.get(way, ""))
            runs[way] += 1
            exact[way] += found == wanted[way]
            kills, torn = kills + more, torn + half
    shares = {way: f"{exact[way]}/{runs[way]}" for way in ways}
    return {"kills": kills, "in the middle of a checkpoint": torn, "same bits": sum(exact.values()),
            "of runs": sum(runs.values()), **shares}  # fmt: skip


def ours(setting: Setting) -> Figures:
    return _counted(setting, list(WAYS), {})


def without_random_state(setting: Setting) -> Figures:
    """Weights, optimizer and data position only; for the journal, one update short."""
    few = Setting(min(setting.size, 6), setting.seed, setting.folder)
    return _counted(few, ["AdamW", "zeroth-order"], {"AdamW": "random", "zeroth-order": "update"})


EXPERIMENT = Experiment(
    name="R4",
    test="a training is killed, three times each, and resumed",
    target="every run ends in the bits of one that was never stopped, all finite",
    unit="kills",
    short=18,
    long=200,
    ours=ours,
    met=lambda f: f["same bits"] == f["of runs"] > 0 and f["kills"] >= f["of runs"],
    peers={"Hugging Face Trainer, AdamW": trainer.killed},
    controls={"random states not restored, journal one update short": without_random_state},
    note=f"tiny-bert with dropout on generated tokens, {STEPS} steps, a checkpoint every {EVERY}; each kill comes "
    "after a checkpoint that the killed process itself had written.",
)
