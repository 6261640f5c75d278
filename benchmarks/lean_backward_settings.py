"""What ``lean_backward.py`` trains: tasks, models, shapes and rates of each section, and the rows it stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import workbench as wb
from workbench.bench import Bench
from workbench.core.spelling import parsed_way
from workbench.records.schema import RunRecord
from workbench.studies.factory import factory_model
from workbench.studies.lean_backward import FROZEN, Arms, convolution_arms, transformer_arms

RESULTS = Path(__file__).resolve().parent / "results" / "lean_backward.json"
SEEDS = (0, 1, 2)
FACTORY_NET = "mcu-net"
TUNING_SEED = 3
VALIDATION = 200  #: further training examples that rates are chosen by
#: Rates that each way tries, by the way or by its method; without one, those of all.
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "efficientnet-lite0": {"": (0.001, 0.003, 0.01, 0.03), "head": (0.003, 0.01, 0.03, 0.1)},
    "minilm": {
        "full": (3e-5, 1e-4, 3e-4), "lora": (1e-3, 3e-3, 1e-2), "s2ft": (1.5e-3, 5e-3, 1.5e-2),
        "green-trainer": (3e-4, 1e-3, 3e-3), "bias": (5e-4, 2e-3, 1e-2), "last-blocks": (1e-4, 3e-4, 1e-3),
        "slimfit": (1e-4, 3e-4, 1e-3),
    },
    "mcu-net": {
        "": (0.001, 0.003, 0.01, 0.03), "head": (0.003, 0.01, 0.03, 0.1), "int8-training": (0.01, 0.03, 0.1, 0.3),
    },
    "tiny-vit": {"": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), "slimfit": (0.0003, 0.001, 0.003, 0.01)},
}  # fmt: skip


class Setting(NamedTuple):
    """A task, a model and its shapes; ``parts`` are those that make sense of it."""

    task: str
    length: int | None
    train: int
    test: int
    parts: tuple[str, ...]
    batch: int = 16
    epochs: float = 1


_TRANSFORMER = ("packing", "static", "predicted", "peaks", "bytes", "rates", "trained", "operations", "scores")
SETTINGS = {
    "efficientnet-lite0": Setting(
        "fashion-mnist",
        64,
        480,
        500,
        ("blocks", "cosines", "activations", "predicted", "peaks", "bytes", "rates", "trained", "operations", "norms"),
    ),
    "mcu-net": Setting(
        "fashion-mnist", None, 960, 500, ("predicted", "peaks", "bytes", "rates", "trained", "operations")
    ),
    "minilm": Setting("movie-sentiment", 32, 400, 400, _TRANSFORMER),
    "tiny-vit": Setting("digits", 16, 1000, 300, _TRANSFORMER, epochs=3),
}


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"models": {}}
    return found


def opened(model: str) -> Bench:
    """The bench of one section; the microcontroller's net leaves a factory where it has learned digits."""
    one = SETTINGS[model]
    if model == FACTORY_NET:
        school = wb.open("digits", model, budget="4GiB", batch=32, train=1000, test=300)
        model = factory_model(school, epochs=4)
    shape = {"batch": one.batch, "length": one.length, "train": one.train, "test": one.test, "epochs": one.epochs}
    return wb.open(one.task, model, budget="4GiB", **shape)


def section(bench: Bench) -> str:
    """The name of the bench's model on the page."""
    return bench.model if bench.model in SETTINGS else FACTORY_NET


def arms(bench: Bench) -> Arms:
    convolutional = section(bench) in ("efficientnet-lite0", FACTORY_NET)
    return convolution_arms(bench) if convolutional else transformer_arms(bench, FROZEN)


def rated(bench: Bench) -> list[str]:
    """Ways whose rate is chosen: all but recomputing, which is full tuning."""
    plain = (" ".join(w for w in way.split() if not w.startswith("lr=")) for way in arms(bench).trained)
    return [way for way in dict.fromkeys(plain) if not way.startswith("checkpointing")]


def stored_runs(bench: Bench, ways: Sequence[str], seeds: Sequence[int]) -> list[RunRecord]:
    """Runs that are in the store."""
    found = []
    for method, settings in map(parsed_way, ways):
        points = bench.grid({"method": [method], "seed": list(seeds), **{k: [v] for k, v in settings.items()}})
        found += [p.record for p in points if p.record is not None]
    return found


def told(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("lr", "r", "channels", "rho", "select", "frozen", "blocks")
    found = {k: config[k] for k in keys if k in config}
    return found | {k: v for k, v in config.items() if (k, v) == ("statistics", "moving")}


def row(record: RunRecord, bench: Bench) -> Mapping[str, Any]:
    return {
        "method": record.method,
        "settings": told(record.config),
        "seed": record.seed,
        "state": record.state.value,
        "reason": record.reason.replace(bench.model, section(bench)),
        "score": record.score.get("value"),
        "steps": len(record.steps),
        "kept": record.measured.saved if record.measured else None,
        "predicted": record.predicted.peak if record.predicted else None,
        "measured": record.measured.peak if record.measured else None,
        "highest": max((s.peak for s in record.steps if s.peak is not None), default=None),
        "seconds": record.step_time.value if record.step_time else None,
    }
