"""A run that begins with somebody's adapter, or leaves one behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.ablate import Progress
from workbench.core.errors import BadInput
from workbench.records.content import content_key
from workbench.records.schema import RunRecord, State
from workbench.session import run

if TYPE_CHECKING:
    from workbench.bench import Bench, Observer


def train(
    bench: Bench,
    method: str,
    seed: int = 0,
    *,
    adapter: Path | None = None,
    export: Path | None = None,
    accumulate: int = 1,
    observe: Observer | None = None,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> RunRecord:
    """Train from ``adapter`` (its method and settings are the run's) and write the result to ``export``.

    It is always trained: the store keeps records, not weights. What the adapter says is checked before the model is
    built, its tensors before one is copied. Raises ``BadInput``; only a run that took all its steps is written, scored
    or not.
    """
    from workbench.adapters import read, save

    if export is not None and export.expanduser().exists():
        raise BadInput("export", export.name, "a folder that does not exist yet")
    given = read(adapter) if adapter is not None else None
    if given is not None:
        if method != given.method:
            raise BadInput("method", method, f"{given.method}, which the adapter was trained with")
        settings = {**given.settings, **settings}
    case = replace(bench.case(method, **settings), accumulate=accumulate)
    if (refused := case.refused()) is not None:
        raise refused
    cell = bench.cell(case, seed)
    session = replace(cell.session(cancel or threading.Event()), adapter=given)

    def on_step(step: Any) -> None:
        if observe is not None:
            observe(Progress(0, 1, cell, step=step, planned=session.total, measured=session.measured))

    record = run(session, on_step=on_step, profile=cell.profile, device=cell.device)
    key = cell.key() if given is None else content_key({"cell": cell.key(), "adapter": given.digest()})
    bench.store.put(key, record)
    if observe is not None:
        observe(Progress(1, 1, cell, record=record))
    # With every step taken these states say that scoring failed, and nothing else would hold what was trained.
    whole = len(record.steps) == session.total and record.state in (State.FAILED, State.OUT_OF_MEMORY)
    if export is not None and (record.state is State.DONE or whole):
        save(case, session.model, export)
    return record
