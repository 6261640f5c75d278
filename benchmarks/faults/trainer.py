"""The Hugging Face Trainer as a peer: the same model with dropout and AdamW, its own checkpoints, its own resume."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from faults.children import Child, child
from faults.damage import KINDS, harm
from faults.frame import Figures, Setting
from faults.training import EVERY, STEPS, bits

FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


class _Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """Random tokens whose label is a function of them; always the same ones."""

    def __init__(self) -> None:
        made = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(5, 100, (16, 16), generator=made)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens = self.tokens[index]
        return {"input_ids": tokens, "labels": int(tokens.sum() % 2)}


def train(says: Connection, folder: Path, resume: bool) -> None:
    """Train to the end as the library does, saying steps and at last the bits of the model."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            says.send(("step", state.global_step))

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, save_steps=EVERY, save_total_limit=2, per_device_train_batch_size=4,
        seed=0, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1000,
    )  # fmt: skip
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        model = BertForSequenceClassification(config)
        library = Trainer(model=model, args=arguments, train_dataset=_Examples(), callbacks=[Told()])
        library.train(resume_from_checkpoint=True if resume else None)
    says.send(("done", bits(model)))


def killed(setting: Setting) -> Figures:
    """Five trainings, each killed three times after a checkpoint of its own and resumed."""
    chance = random.Random(setting.seed)
    wanted = child(train, setting.folder / "whole", False).rest()[-1][1]
    found: Figures = {"kills": 0, "same bits": 0, "would not resume": 0, "of runs": 0}
    for number in range(5):
        folder = setting.folder / f"run-{number}"
        for turn in range(3):
            running = child(train, folder, turn > 0)
            if not _past_a_checkpoint(running, chance):  # it would not resume, or there was no step left
                running.rest()
                break
            time.sleep(chance.uniform(0, 0.03))
            running.kill()
            found["kills"] += 1
        last = child(train, folder, True).rest()[-1]
        found["same bits"] += last[:2] == ("done", wanted)
        found["would not resume"] += last[0] == "failed"
        found["of runs"] += 1
    return found


def _past_a_checkpoint(running: Child, chance: random.Random) -> bool:
    """Wait until a training has passed a checkpoint of its own; False when it ended before, well or badly."""
    word, first = running.hear()[:2]
    if word != "step":
        return False
    step, until = first, chance.randint(first + EVERY, first + EVERY + 2)
    while step < until:
        word, step = running.hear()[:2]
        if word != "step":
            return False
    return True


def damaged(setting: Setting) -> Figures:
    """Each of its five files damaged in three ways in the newest of two checkpoints."""
    chance = random.Random(setting.seed)
    wanted = child(train, setting.folder / "whole", False).rest()[-1][1]
    kept = setting.folder / "kept"
    running = child(train, kept, False)
    while running.hear()[1] < 13:
        pass
    time.sleep(0.05)
    running.kill()
    assert child(train, _copy(kept, setting.folder / "sound"), True).rest()[-1][1] == wanted, "no exact resume at all"
    found: Figures = {"cases": 0, "exact from the one before": 0, "exact all the same": 0, "silently other": 0,
                      "refused": 0}  # fmt: skip
    for number in range(len(FILES) * len(KINDS)):
        file, kind = FILES[number % len(FILES)], KINDS[number // len(FILES)]
        folder = _copy(kept, setting.folder / "case")
        newest = max(folder.glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))
        harm(newest / file, kind, chance)
        heard = child(train, folder, True).rest()
        last, first = heard[-1], heard[0][1]
        found["cases"] += 1
        if last[0] != "done":
            found["refused"] += 1
        elif last[1] != wanted:
            found["silently other"] += 1
        elif first <= int(newest.name.split("-")[1]):
            found["exact from the one before"] += 1
        else:
            found["exact all the same"] += 1
        shutil.rmtree(folder)
    return found


def _copy(kept: Path, folder: Path) -> Path:
    shutil.copytree(kept, folder)
    return folder
