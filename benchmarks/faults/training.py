"""A small training with checkpoints for experiments to kill: real methods on a tiny model with dropout."""

from __future__ import annotations

import hashlib
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from workbench.case import Case
from workbench.checkpoints import content
from workbench.checkpoints.keeper import Checkpoints
from workbench.core.schedule import Schedule
from workbench.engine.journal import Journal
from workbench.session import Session
from workbench.tasks.base import Sizes

STEPS, EVERY = 24, 3

#: Method and settings of each training that must resume to the same bits.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("full", {"optimizer": "sgd", "lr": 0.05}),
    "AdamW": ("full", {}),
    "LoRA": ("lora", {}),
    "GaLore": ("galore", {"rank": 8, "interval": 5}),
    "Natural GaLore": ("natural-galore", {"rank": 8, "interval": 5}),
    "zeroth-order": ("mezo", {}),
}


def session(way: str, folder: Path | None, seed: int = 0) -> Session:
    method, settings = WAYS[way]
    case = Case("tokens", "tiny-bert", method, 4, 16, settings=settings)
    kept = Checkpoints(folder, f"{way}-{seed}", EVERY) if folder else Checkpoints()
    return Session(case, seed, None, Schedule(steps=STEPS), Sizes(18, 8), checkpoints=kept)


def bits(model: torch.nn.Module) -> str:
    """SHA-256 of every tensor of a model; raises when one is not finite, for diverged runs compare equal."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise FloatingPointError(f"{name} is not finite")
        digest.update(name.encode() + tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def train(says: Connection, way: str, folder: Path | None, weakened: str = "") -> None:
    """Train to the end, saying ``("step", number)`` after each step and ``("done", bits, resumed, notes)``.

    ``weakened`` is what a negative control leaves out: the random states, the last update, or the verification.
    """
    torch.set_num_threads(1)
    _weaken(weakened)
    training = session(way, folder)
    training.prepare()
    for step in training.steps():
        if step.step >= training.checkpoints.resumed:
            says.send(("step", step.step))
    kept = training.checkpoints
    says.send(("done", bits(training.model), kept.resumed, kept.notes))


def _weaken(what: str) -> None:
    if what == "random":
        content.set_random_states = lambda *_: None  # type: ignore[assignment]
    if what == "update":
        whole = Journal.from_bytes.__func__  # type: ignore[attr-defined]

        def shortened(cls: type[Journal], data: bytes) -> Journal:
            journal: Journal = whole(cls, data)
            journal.updates.pop()
            return journal

        Journal.from_bytes = classmethod(shortened)  # type: ignore[assignment, method-assign]
    if what == "verification":
        from workbench.checkpoints import keeper

        keeper.unsealed = lambda folder: _unverified(folder)  # type: ignore[assignment]


def _unverified(folder: Path) -> dict[str, Any]:
    """The manifest believed, the files not looked at."""
    import json

    facts: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())["facts"]
    return facts


def warm() -> None:
    """Once in the server, so that a child begins to train at once: imports, caches, compiled kernels."""
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        for way in WAYS:
            training = session(way, None)
            training.prepare()
            next(training.steps())
