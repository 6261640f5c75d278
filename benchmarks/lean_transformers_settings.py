"""What ``lean_transformers.py`` trains: tasks, models, shapes and rates of each section."""

from __future__ import annotations

from typing import NamedTuple

PARTS = ("exact", "bytes", "target", "lazy", "rates", "trained")
TUNING_SEED = 3
VALIDATION = 48  #: further training examples that rates are chosen by
#: Rates that are tried where a model has none of its own; MiniLM's stand on the lean page.
RATES = {
    "smollm2-rated": {
        "full": (1e-5, 3e-5, 1e-4), "lora": (3e-4, 1e-3, 3e-3, 1e-2), "s2ft": (1.5e-3, 5e-3, 1.5e-2),
    },
}  # fmt: skip
SEEDS = (0, 1, 2)


class Setting(NamedTuple):
    """A task, a model and its shapes; ``rhos`` are targets that a step of the model can meet.

    At 128 tokens 49 requests are short enough, which leaves 8 to test on; at 144 there are 180.
    """

    task: str
    held_out: str
    batch: int
    length: int | None
    train: int
    test: int
    epochs: float
    rhos: tuple[float, ...]
    budget: str = "1GiB"
    parts: tuple[str, ...] = ("exact", "bytes", "target", "lazy", "trained")


SETTINGS = {
    "minilm": Setting("movie-sentiment", "newsgroups", 16, None, 800, 500, 2, (0.36, 0.5, 0.7)),
    "smollm2": Setting("function-calling", "python-code", 2, 128, 40, 8, 1, (0.5, 0.6, 0.7), "4GiB"),
    "smollm2-rated": Setting(
        "function-calling", "python-code", 2, 144, 40, 80, 1, (0.5,), "4GiB", ("rates", "trained")
    ),
}
