"""Which executor runs a case's step fastest on this host: raced once, kept in the cache like a prediction."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core import paths
from workbench.core.answers import read_file, write_file
from workbench.core.errors import Incompatible
from workbench.memory.host import host
from workbench.records.content import content_key

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.case import Case
    from workbench.engine.race import Result
    from workbench.parts.base import TrainingStep

EXECUTORS = ("eager", "graph", "inductor")
COMPILE_LIMIT = 180.0  #: seconds a race waits for the compiler


def stored(case: Case) -> Result | None:
    """The result of an earlier race of this case on this host; reading it loads no torch."""
    from workbench.engine.race import Result

    try:
        return Result(**(read_file(_file(case)) or {}))
    except TypeError:
        return None


def raced(case: Case, *, executors: tuple[str, ...] = EXECUTORS, limit: float = COMPILE_LIMIT) -> Result:
    """The stored result, or that of a race run now on random weights and a batch of the case's shapes.

    Takes minutes where ``inductor`` takes part, ``limit`` seconds of compilation at most.
    """
    found = stored(case)
    if found is None:
        found = _race(case, executors, limit)
        write_file(_file(case), found.to_dict())
        case.__dict__.pop("_identity", None)  # what the case is depends on its winner
    return found


def _race(case: Case, executors: tuple[str, ...], limit: float) -> Result:
    from workbench.engine.race import Result, race
    from workbench.methods import _levers as levers
    from workbench.parts.estimator.captured import Captured

    base = replace(case, settings={**case.settings, "executor": "eager"})
    step = base.step(base.attached(weights=False))
    try:
        levers.applied(case.method.parts(base.config), case.config.model_copy(update={"executor": "graph"}))
    except Incompatible as error:
        return Result("eager", out={"graph": error.reason})
    estimators = {name: Captured(name, limit) for name in executors if name != "eager"}
    runs = {"eager": _with(step, step.parts.estimator, base)}
    result = race(step, {**runs, **{name: _with(step, one, base) for name, one in estimators.items()}})
    fell_back = {n: note for n, one in estimators.items() for note in one.notes if note.startswith("eager: ")}
    if not fell_back:
        return result
    seconds = {n: s for n, s in result.seconds.items() if n not in fell_back}  # theirs were eager steps
    out = {**result.out, **fell_back}
    return replace(result, winner=min(seconds.keys() - out.keys(), key=lambda n: seconds[n]), seconds=seconds, out=out)


def _with(step: TrainingStep, estimator: Any, case: Case) -> Callable[[], Tensor]:
    batches = case.example()

    def run() -> Tensor:
        step.parts = replace(step.parts, estimator=estimator)
        return step(batches, seed=0)

    return run


def _file(case: Case) -> Path:
    auto = {**case.config.model_dump(), "executor": "auto"}
    asked = {
        **replace(case, settings={**case.settings, "executor": "eager"}).identity(),
        "config": auto,
        "code": _code(),
    }
    return paths.cache() / "races" / f"{content_key(asked | _host())}.json"


def _host() -> dict[str, Any]:
    return {**host(), "machine": platform.node(), "processor": _processor()}


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


@functools.cache
def _code() -> str:
    """Content of the engine's code: another engine has to be raced again."""
    digest = hashlib.sha256()
    for file in sorted((paths.PACKAGE / "engine").glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
