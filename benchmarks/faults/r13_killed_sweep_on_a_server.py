"""R13: the kills of R1 with store and queue on a PostgreSQL server, as when many machines share a sweep."""

from __future__ import annotations

from faults.frame import Experiment, Figures, Setting
from faults.r01_killed_sweep import EXPERIMENT as ON_FILES
from faults.r01_killed_sweep import _kill
from faults.server import postgresql


def ours(setting: Setting) -> Figures:
    with postgresql() as url:
        return _kill(setting, url=url)


def optuna_alone(setting: Setting) -> Figures:
    with postgresql() as url:
        few = Setting(min(setting.size, 12), setting.seed, setting.folder, setting.long)
        return _kill(few, weak="alone", url=url)


EXPERIMENT = Experiment(
    name="R13",
    test="as R1, with records and queue in a PostgreSQL server on loopback",
    target=ON_FILES.target,
    unit="kills",
    short=6,
    long=120,
    ours=ours,
    met=ON_FILES.met,
    controls={"on Optuna without heartbeat": optuna_alone},
    note="the server is Debian's package; the kills are of workers and sweeps, not of the server.",
)
