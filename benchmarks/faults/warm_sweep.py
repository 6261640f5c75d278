"""Imported once, in the fork server of a sweep, so that a worker that lives for a second gets through a cell."""

import tempfile
from dataclasses import replace
from pathlib import Path
from threading import Event

import torch

from faults.sweeping import cells
from workbench.records.store import RunStore
from workbench.session import run
from workbench.workers.queue import Queue

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as _folder:
    _store = RunStore(Path(_folder))
    for _joining in (False, True):
        Queue(_store.queue, ["nothing"], joining=_joining)
    _store.put("nothing", run(cells(0, 1)[0].session(Event())))
    assert _store.finished("nothing") is not None
for _cell in cells(0, 2):
    run(replace(_cell, seed=1_000_000).session(Event()))
