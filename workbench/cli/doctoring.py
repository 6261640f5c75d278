"""The verb that says what is wrong with this installation."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli import options
from workbench.cli.printing import say, show_json
from workbench.core.errors import PintpotError
from workbench.records.aside import damage_of, put_aside

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. A ``problem`` makes the command fail; a ``warning`` does not."""

    what: str
    level: Level
    text: str


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the readable runs to FILE.json or .csv.")
    ] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Make a damaged file of the run store anew.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Look for what is wrong with this installation and say how to mend it."""
    if export is not None or mend:
        return _keep(export, mend)
    checks: tuple[Callable[[], Finding], ...] = (
        _packages,
        _floors,
        _torch,
        _compiler,
        _plugins,
        _kernel,
        _browser,
        _store,
        _sweeps,
        _cache,
        _calibration,
    )
    found = [check() for check in checks]
    if as_json:
        show_json([vars(f) for f in found])
    else:
        for finding in found:
            say(f"{finding.level:8} {finding.what}: {finding.text}")
    if any(f.level == "problem" for f in found):
        raise typer.Exit(1)
    return None


def _keep(export: Path | None, mend: bool) -> None:
    from workbench.records.export import export as write
    from workbench.records.store import RunStore

    store = RunStore()
    if export is not None:
        say(f"{export}: {write(store, export)} runs")
    if mend:
        done = store.mend()
        if damage_of(_queue_file()):
            done.append(f"{_queue_file().name} is kept as {put_aside(_queue_file())}; the next sweep makes it anew")
        for words in done or ["nothing to mend: every file of the run store is whole"]:
            say(words)


def _packages() -> Finding:
    from workbench.core.paths import PACKAGE

    for name in ("workbench", "widgets"):
        spec = find_spec(name)
        where = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if where is None or where.parent != PACKAGE.parent:
            return Finding("packages", "problem", f"{name} is another distribution's package; uninstall that one")
    try:
        return Finding("packages", "ok", f"pintpot {distribution('pintpot').version}")
    except PackageNotFoundError:
        return Finding("packages", "problem", "pintpot is not installed; run: make setup")


def _floors() -> Finding:
    from workbench.cli.floors import FLOORS, below

    found = below()
    if found:
        return Finding("floors", "problem", f"unsafe to read foreign data with: {'; '.join(found)}; run: make setup")
    return Finding("floors", "ok", f"{len(FLOORS)} libraries that read foreign data are recent enough")


def _torch() -> Finding:
    import torch

    if torch.version.cuda:
        return Finding(
            "torch", "warning", f"{version('torch')} carries CUDA {torch.version.cuda}; several GB for nothing on a CPU"
        )
    return Finding(
        "torch",
        "ok",
        f"{version('torch')}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
    )


def _compiler() -> Finding:
    from workbench.memory import ledger

    if ledger.available():
        return Finding("ledger", "ok", "every byte that torch allocates is counted")
    return Finding(
        "ledger", "warning", f"workspace is not measured and budgets are kept by the tracker: {ledger.reason()}"
    )


def _plugins() -> Finding:
    from workbench.methods.base import methods

    count = len(methods)
    if methods.failed:
        text = "; ".join(f"{n}: {e}" for n, e in methods.failed.items())
        return Finding("methods", "problem", f"{count} load, these do not: {text}")
    return Finding("methods", "ok", f"{count} methods")


def _kernel() -> Finding:
    """Reports start a kernel of exactly this interpreter; all it needs is the kernel's package."""
    if find_spec("ipykernel") is None:
        return Finding("kernel", "problem", "ipykernel is missing, so no report can run; run: make setup")
    return Finding("kernel", "ok", f"reports run on {sys.executable}")


def _browser() -> Finding:
    if shutil.which("chromium"):
        return Finding("browser", "ok", "chromium is there for the browser tests")
    return Finding("browser", "warning", "no chromium; the browser tests are skipped (apt-get install chromium)")


def _store() -> Finding:
    from workbench.records.store import RunStore

    try:
        health = RunStore().health()
    except PintpotError as error:  # a server that is down hides nothing else that is wrong
        return Finding("runs", "problem", str(error))
    if health.damaged:
        names = ", ".join(health.damaged[:5])
        return Finding("runs", "problem", f"{len(health.damaged)} damaged records, the others are fine: {names}")
    if health.complaints:
        words = "; ".join(health.complaints)
        if not health.runs:
            anew = "pintpot doctor --mend keeps the files aside and begins anew"
            return Finding("runs", "problem", f"no run can be read: {words}; {anew}")
        return Finding("runs", "problem", f"all {health.runs} runs are there, but {words}; run: pintpot doctor --mend")
    return Finding("runs", "ok", f"{health.runs} runs")


def _sweeps() -> Finding:
    if found := damage_of(_queue_file()):
        return Finding("sweeps", "warning", f"{_queue_file().name} is damaged ({found}); the next sweep makes it anew")
    return Finding("sweeps", "ok", "who runs what can be read")


def _queue_file() -> Path:
    from workbench.core import paths
    from workbench.records.store import RunStore

    return Path(RunStore(paths.runs()).queue.removeprefix("sqlite:///"))


def _cache() -> Finding:
    from workbench.core import paths

    folder = paths.cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("cache", "problem", f"cannot be written: {error.strerror}; set PINTPOT_CACHE")
    if free < 2 * 2**30:
        return Finding(
            "cache", "warning", f"{free / 2**30:.1f} GiB free; the largest asset wants 1 GiB while converting"
        )
    return Finding("cache", "ok", f"{free / 2**30:.0f} GiB free")


def _calibration() -> Finding:
    from workbench.devices.host import calibration

    if calibration() is None:
        return Finding("this-host", "warning", "not calibrated; run: pintpot devices calibrate")
    return Finding("this-host", "ok", "calibrated")
