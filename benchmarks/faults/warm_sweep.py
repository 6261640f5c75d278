"""Imported once, in the fork server of a sweep, so that a worker that lives for a second gets through a cell."""

from dataclasses import replace
from threading import Event

import torch

from faults.sweeping import cells
from workbench.session import run

torch.set_num_threads(1)
for _cell in cells(0, 2):
    run(replace(_cell, seed=1_000_000).session(Event()))
