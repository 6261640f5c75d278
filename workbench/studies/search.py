"""Search methods and settings for the front of accuracy against memory, with Optuna.

Optuna proposes, our run store is the truth: a proposal that was run before is read, not run. The study
lies beside the store, so a search that is stopped goes on where it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.config import Setting
from workbench.core.errors import BadInput, Interrupted
from workbench.records.content import content_key
from workbench.records.schema import RunRecord, State

if TYPE_CHECKING:
    import optuna

    from workbench.ablate import Progress
    from workbench.bench import Bench

#: Settings worth moving, with the range that is sensible whatever the model: (low, high, logarithmic).
RANGES: dict[str, tuple[float, float, bool]] = {
    "lr": (1e-5, 3e-2, True),
    "r": (1, 64, True),
    "blocks": (0, 6, False),
    "num_virtual_tokens": (1, 32, True),
}


@dataclass(frozen=True)
class Found:
    """What a search found. ``front`` are the runs that no other beats in score and measured peak at once."""

    records: tuple[RunRecord, ...]
    front: tuple[RunRecord, ...]


def search(
    bench: Bench,
    methods: Sequence[str],
    trials: int,
    *,
    seed: int = 0,
    observe: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Found:
    """Try ``trials`` proposals over ``methods`` and their settings under the bench's budget.

    A proposal whose prediction passes the budget is pruned before anything is trained. Raises
    ``Interrupted`` when cancelled; the study and every finished run are kept.
    """
    import optuna

    if trials < 1:
        raise BadInput("trials", trials, "a whole number of at least 1")
    chosen = bench.methods(methods)
    cancel = cancel or threading.Event()
    study = _study(bench, chosen, seed)
    done: dict[str, RunRecord] = {}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        name, settings = _proposal(trial, chosen)
        record = bench.run(name, seed, observe=observe, cancel=cancel, **settings)
        done[record.id] = record
        trial.set_user_attr("run", record.id)
        if record.state is not State.DONE or record.accuracy is None or record.measured is None:
            raise optuna.TrialPruned(record.reason or record.state)
        return record.accuracy, float(record.measured.peak)

    try:
        study.optimize(objective, n_trials=trials)
    except Interrupted:
        raise Interrupted("the search was stopped; finished runs are kept and the same command goes on") from None
    best = {t.user_attrs["run"] for t in study.best_trials}
    records = tuple(done.values())
    return Found(records, tuple(r for r in records if r.id in best))


def _study(bench: Bench, methods: Sequence[str], seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bench.store.folder.mkdir(parents=True, exist_ok=True)
    name = content_key({"parameters": bench.parameters(methods, [seed]), "ranges": RANGES})[:16]
    return optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{bench.store.folder / 'search.sqlite'}",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
        load_if_exists=True,
    )


def _proposal(trial: optuna.Trial, methods: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A method and values for those of its settings that are worth moving."""
    from workbench.methods.base import methods as registry

    name = trial.suggest_categorical("method", list(methods))
    settings = {s.name: _value(trial, name, s) for s in registry.get(name).settings() if s.name in RANGES}
    return name, settings


def _value(trial: optuna.Trial, method: str, setting: Setting) -> int | float:
    low, high, logarithmic = RANGES[setting.name]
    label = f"{method}.{setting.name}"
    if setting.type.startswith("int"):
        return trial.suggest_int(label, int(low), int(high), log=logarithmic)
    return trial.suggest_float(label, low, high, log=logarithmic)
