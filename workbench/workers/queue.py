"""The cells that are still to be run, as trials of an Optuna study, and who has let go of one without a word.

Optuna's heartbeats are times of the wall clock, and it calls a trial stale when the clock has moved on: a clock that
jumps a day steals every trial or keeps a dead one for a day, and a worker that dies before its first beat is never
missed. Here a beat is only something that changes: a trial is stale once an observer has seen it unchanged for the
length of the lease by its own steady clock. That needs no two clocks to agree.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from workbench.records.aside import damage_of, put_aside
from workbench.records.content import content_key
from workbench.records.database import WAIT, alone

LIVE = (TrialState.WAITING, TrialState.RUNNING)
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Lease:
    """A worker says every ``beat`` seconds that it lives; after ``length`` seconds of silence its cell is given away.

    A cell whose workers died more than ``retries`` times is given up.
    """

    beat: int = 2
    length: float = 10.0
    retries: int = 3


class ObservedStorage(RDBStorage):
    """Optuna's storage, with staleness as this process observes it; ``checked`` when its tables are there for sure."""

    def __init__(self, url: str, lease: Lease, *, checked: bool = False) -> None:
        options: dict[str, Any] = {"connect_args": {"timeout": WAIT}} if url.startswith("sqlite") else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs=options,
                skip_table_creation=checked,
                skip_compatibility_check=checked,
                heartbeat_interval=lease.beat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=lease.retries),
            )
        if url.startswith("sqlite") and not checked:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self._file = str(self.engine.url.database) if url.startswith("sqlite") else ""
        self._length = lease.length
        self._seen: dict[int, tuple[Any, float]] = {}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        # SQLite knows no lock on a row, so two that read at once would both take a trial that waits.
        with FileLock(f"{self._file}.lock") if self._file and state is TrialState.RUNNING else nullcontext():
            return super().set_trial_state_values(trial_id, state, values)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now = time.monotonic()
        trial, beat = models.TrialModel, models.TrialHeartbeatModel
        running = (
            select(trial.trial_id, beat.heartbeat)
            .outerjoin(beat, beat.trial_id == trial.trial_id)
            .where(trial.study_id == study_id, trial.state == TrialState.RUNNING)
        )
        with Session(self.engine) as session:
            beats = dict(row._tuple() for row in session.execute(running))
        known = self._seen
        self._seen = {t: known[t] if t in known and known[t][0] == b else (b, now) for t, b in beats.items()}
        return [t for t, (_, since) in self._seen.items() if now - since > self._length]


class Queue:
    """The study of one grid. ``keys`` are the content keys of its cells; equal grids share a study.

    Joining one that somebody has opened looks at nothing twice: a worker is to begin at once.
    """

    def __init__(self, url: str, keys: Iterable[str], lease: Lease | None = None, *, joining: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.lease = lease or Lease()
        self.keys = tuple(keys)
        name = content_key({"cells": sorted(self.keys)})[:16]
        if joining:
            self.study = optuna.load_study(study_name=name, storage=ObservedStorage(url, self.lease, checked=True))
        else:
            self.study = _opened(url, self.lease, name)
        ended = self.study.get_trials(deepcopy=False, states=ENDED)
        self._before = {trial.number for trial in ended}

    @classmethod
    def of_before(cls, url: str, keys: Iterable[str], lease: Lease) -> Queue | None:
        """The queue of a grid that has been swept before; ``None`` if it never was, or nothing can be read of it."""
        file = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and (not file.exists() or damage_of(file)):
            return None
        with suppress(KeyError, optuna.exceptions.StorageInternalError):
            return cls(url, keys, lease, joining=True)
        return None

    def add(self, labels: Mapping[str, str]) -> None:
        """Let workers take these cells (key: what to call it); those under way or waiting stay as they are."""
        live = self.live()
        for key, label in labels.items():
            if key not in live:
                self.study.enqueue_trial({}, user_attrs={"key": key, "label": label})

    def live(self) -> dict[str, optuna.trial.FrozenTrial]:
        """Cells that wait or are under way, each with the first trial of it."""
        found: dict[str, optuna.trial.FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=LIVE):
            found.setdefault(trial.user_attrs.get("key", ""), trial)
        found.pop("", None)
        return found

    def waiting(self) -> bool:
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def deaths(self, key: str) -> int:
        """How many workers died over a cell since this queue was opened: a new sweep tries again."""
        failed = self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return sum(t.user_attrs.get("key") == key and t.number not in self._before for t in failed)

    def over(self) -> set[str]:
        """Cells that a worker, of anyone, has run to an end of whatever kind since this queue was opened."""
        ended = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return {t.user_attrs["key"] for t in ended if "over" in t.user_attrs and t.number not in self._before}

    def close(self, finished: Set[str]) -> None:
        """End what is live of ``finished`` cells, and what is of none: its worker died after the store had the result
        and before the queue was told, or as it found nothing to do. A sweep that is over waits for no lease."""
        storage = self.study._storage
        for trial in self.study.get_trials(deepcopy=False, states=LIVE):
            key = trial.user_attrs.get("key")
            if key is not None and key not in finished:
                continue
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # it lived, and was quicker
                if key is not None:
                    storage.set_trial_user_attr(trial._trial_id, "over", "done")
                storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED)

    def reclaim(self) -> None:
        """Give away the cells of workers that have been silent for the length of the lease."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)


def _opened(url: str, lease: Lease, name: str) -> optuna.Study:
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if damage_of(file):  # it only says who does what; what is done stands in the store
            put_aside(file)
    engine = create_engine(url)
    with alone(engine):  # two that begin at once would both make the tables
        storage = ObservedStorage(url, lease)
        study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="maximize")
    engine.dispose()
    return study
