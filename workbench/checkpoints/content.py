"""What has to be kept of a training step under way, and how it is put back.

A zeroth-order run whose rule only adds is its journal: seed and scale of each update, replayed on the weights it began
with. Everything else keeps the tensors that train, the buffers that moved, and the optimizer's state.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workbench.checkpoints.randomness import random_states, set_random_states
from workbench.checkpoints.trees import grown, planted
from workbench.engine.journal import Journal
from workbench.parts.base import Remembering, TrainingStep
from workbench.parts.estimator.along_noise import AlongNoise

WEIGHTS, OPTIMIZER, RANDOM, JOURNAL, PLAIN = (
    "weights.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "journal.bin",
    "state.json",
)


def journal_for(training: TrainingStep) -> Journal | None:
    """An empty journal for a training that can be written down as one."""
    estimator = training.parts.estimator
    return Journal(estimator.noise) if isinstance(estimator, AlongNoise) and training.rule_adds else None


def marks(model: nn.Module) -> dict[str, str]:
    """A digest of each buffer; one that has another later has moved, whoever moved it."""
    return {name: _digest(buffer) for name, buffer in model.named_buffers()}


def _digest(tensor: Tensor) -> str:
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy()).hexdigest()


def finite(training: TrainingStep) -> bool:
    """Whether every trained number is: what is not must never become the last good state."""
    return all(bool(torch.isfinite(p).all()) for p in training.parameters if p.is_floating_point())


def size(training: TrainingStep) -> int:
    """About the bytes that :func:`write` will want on disk."""
    trained = 0 if training.journal is not None else sum(p.nbytes for p in training.parameters)
    return trained + sum(t.nbytes for t in training.optimizer_state()) + (1 << 20)


def write(folder: Path, training: TrainingStep, since: dict[str, str], facts: dict[str, Any]) -> None:
    """The whole state as files in ``folder``; ``facts`` is JSON that goes with it."""
    weights: dict[str, Tensor] = {}
    moved = {n: b for n, b in training.model.named_buffers() if _digest(b) != since.get(n)}
    layouts = {"buffers": {n: planted(b, n, weights) for n, b in moved.items()}}
    if training.journal is not None:
        (folder / JOURNAL).write_bytes(training.journal.to_bytes())
    else:
        trained = {n: p for n, p in training.model.named_parameters() if p.requires_grad}
        layouts["trained"] = {n: planted(p, n, weights) for n, p in trained.items()}
    optimizer: dict[str, Tensor] = {}
    trees = [
        [planted(o.state.get(p, {}), f"{i}.{j}", optimizer) for j, p in enumerate(training.parameters)]
        for i, o in enumerate(training.optimizers)
    ]
    words, plain = random_states()
    for name, tensors in ((WEIGHTS, weights), (OPTIMIZER, optimizer), (RANDOM, words)):
        save_file(tensors, folder / name)
    state = {"facts": facts, "layouts": layouts, "optimizers": trees, "random": plain}
    if isinstance(estimator := training.parts.estimator, Remembering):
        state["estimator"] = estimator.remembered()
    (folder / PLAIN).write_text(json.dumps(state))


@torch.no_grad()
def read(folder: Path, training: TrainingStep) -> dict[str, Any]:
    """Put the state in ``folder`` into a training that was prepared from the same seed; gives the facts back."""
    state = json.loads((folder / PLAIN).read_text())
    weights, layouts = load_file(folder / WEIGHTS), state["layouts"]
    places = {**dict(training.model.named_parameters()), **dict(training.model.named_buffers())}
    for name, tree in {**layouts["buffers"], **layouts.get("trained", {})}.items():
        places[name].copy_(grown(tree, weights))
    if training.journal is not None:
        training.journal = Journal.from_bytes((folder / JOURNAL).read_bytes())
        training.journal.replay(training.parameters)
    optimizer, made = load_file(folder / OPTIMIZER), dict[str, Tensor]()
    for rule, trees in zip(training.optimizers, state["optimizers"], strict=True):
        for parameter, tree in zip(training.parameters, trees, strict=True):
            if kept := grown(tree, optimizer, made):
                rule.state[parameter] = kept
    set_random_states(load_file(folder / RANDOM), state["random"])
    if isinstance(estimator := training.parts.estimator, Remembering):
        estimator.remember(state["estimator"])
    facts: dict[str, Any] = state["facts"]
    return facts
