"""R5: the newest checkpoint is damaged; the one before it must be used, and said."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from faults import trainer
from faults.children import child
from faults.damage import KINDS, harm
from faults.frame import Experiment, Figures, Setting
from faults.training import train

FILES = ("weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json", "manifest.json")


def _stopped(folder: Path) -> None:
    """A training of AdamW killed when it had two checkpoints."""
    running = child(train, "AdamW", folder)
    while (message := running.hear())[1] < 13:
        assert message[0] == "step"
    running.kill()
    for orphan in folder.glob("*.tmp"):
        shutil.rmtree(orphan)


def _counted(setting: Setting, weakened: str) -> Figures:
    chance = random.Random(setting.seed)
    wanted = child(train, "AdamW", None).rest()[-1][1]
    _stopped(setting.folder / "kept")
    found: Figures = {"cases": 0, "exact from the one before": 0, "silently other": 0, "refused": 0}
    for number in range(setting.size):
        file, kind = FILES[number % len(FILES)], KINDS[number // len(FILES) % len(KINDS)]
        folder = setting.folder / "case"
        shutil.copytree(setting.folder / "kept", folder)
        newest = max(folder.glob("step-*"))
        harm(newest / file, kind, chance)
        last = ([None, *child(train, "AdamW", folder, weakened).rest()])[-1]
        found["cases"] += 1
        if last is None or last[0] != "done":
            found["refused"] += 1
        elif last[1] == wanted and 0 < last[2] < int(newest.name.split("-")[1]) and "damaged" in " ".join(last[3]):
            found["exact from the one before"] += 1
        elif last[1] != wanted:
            found["silently other"] += 1
        shutil.rmtree(folder)
    return found


def ours(setting: Setting) -> Figures:
    return _counted(setting, "")


def unverified(setting: Setting) -> Figures:
    return _counted(setting, "verification")


EXPERIMENT = Experiment(
    name="R5",
    test="the newest checkpoint is damaged: five files, each flipped, torn, missing",
    target="all recover from the one before, exactly, and say so; none goes on to other weights",
    unit="damaged checkpoints",
    short=15,
    long=15,
    ours=ours,
    met=lambda f: f["exact from the one before"] == f["cases"] > 0,
    controls={"manifest believed, files not verified": unverified},
    peers={"Hugging Face Trainer": trainer.damaged},
)
