"""Named sizes of a comparison: quick proves that it works, standard answers, full leaves nothing out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.core.errors import UnknownName


@dataclass(frozen=True)
class RunProfile:
    """Defaults of one profile. ``train`` and ``test`` are examples (``None``: the task's own); budget is text."""

    name: str
    doc: str
    task: str
    model: str
    budget: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    batch: int
    epochs: float
    train: int | None
    test: int | None
    length: int | None = None
    seconds: float = 30.0  #: training time of each run where all get the same
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings by method where the model of this profile wants others than the method's defaults."""


DEFAULT_METHODS = ("full", "lora", "last-blocks", "bias", "mezo")

_PROFILES = (
    RunProfile(
        "quick",
        "under two minutes, no downloads: a small inverted-residual net from configuration on handwritten digits",
        task="digits",
        model="tiny-cnn",
        budget="11 MiB",
        methods=DEFAULT_METHODS,
        seeds=(0, 1, 2),
        batch=16,
        epochs=4,
        train=400,
        test=300,
        seconds=1.0,
        # Nothing is pretrained here, so every method starts further away and wants a larger step.
        settings={
            "full": {"lr": 5e-3},
            "lora": {"lr": 1e-2},
            "last-blocks": {"lr": 5e-3},
            "sparse-update": {"lr": 1e-2},
            "bias": {"lr": 1e-2},
            "mezo": {"lr": 1e-3},
            "galore": {"lr": 5e-3},
            "natural-galore": {"lr": 5e-3},
        },
    ),
    RunProfile(
        "standard",
        "about ten minutes on two idle cores: the pretrained MiniLM on rated movie sentences",
        task="movie-sentiment",
        model="minilm",
        budget="256 MiB",
        methods=DEFAULT_METHODS,
        seeds=(0, 1, 2),
        batch=16,
        epochs=2,
        train=800,
        test=500,
    ),
    RunProfile(
        "full",
        "hours, resumable: every method, the task's own sizes, five seeds",
        task="movie-sentiment",
        model="minilm",
        budget="256 MiB",
        methods=(),
        seeds=(0, 1, 2, 3, 4),
        batch=16,
        epochs=2,
        train=None,
        test=None,
        seconds=240.0,
    ),
)


def profile(name: str) -> RunProfile:
    """The profile called ``name``; raises ``UnknownName``."""
    known = {p.name: p for p in _PROFILES}
    if name not in known:
        raise UnknownName("profile", name, known)
    return known[name]


def profiles() -> tuple[RunProfile, ...]:
    return _PROFILES
