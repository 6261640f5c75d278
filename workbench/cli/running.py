"""Verbs that train: run, ablate, compare."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.ctrl_c import CtrlC
from workbench.cli.printing import note, show_json, show_table
from workbench.core.errors import BadInput, ResourceMissing, one_of, together
from workbench.core.spelling import parsed, words
from workbench.core.units import format_size, format_time


def add_to(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(ablate)
    app.command()(equal)
    app.command()(search)
    app.command()(compare)


@contextmanager
def cancelling() -> Iterator[threading.Event]:
    """An event that Ctrl-C or TERM sets: the run ends soon, its whole steps are kept. A second one leaves at once."""
    event = threading.Event()

    def stop(number: int, _: Any) -> None:
        if event.is_set():
            raise CtrlC
        event.set()
        note("pintpot: stopping, the steps done are kept; press Ctrl-C again to leave at once")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Profile = Annotated[str, typer.Option("--profile", help="quick, standard or full.")]


def run(
    method: options.MethodName,
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    seed: Annotated[int, options.whole(help="Seed of fresh weights, order and noise.")] = 0,
    batch: options.Batch = None,
    length: options.Length = None,
    accumulate: options.Accumulate = 1,
    settings: options.Settings = None,
    profile: Profile = "standard",
    train: options.Train = None,
    test: options.Test = None,
    epochs: options.Epochs = None,
    held_out: options.HeldOut = "",
    adapter: Annotated[Path | None, typer.Option(help="Begin with the adapter in this folder.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the trained part into this new folder.")] = None,
    arena: Annotated[bool, typer.Option("--arena", help="Serve repeated steps from one planned block.")] = False,
    checkpoint_every: options.CheckpointEvery = 0,
    cosines: options.Cosines = 0,
    as_json: options.AsJson = False,
) -> None:
    """Train one method under the budget and store the record."""
    from workbench import request
    from workbench.bench import open as open_bench
    from workbench.core.errors import BudgetExceeded
    from workbench.progress import sweeping
    from workbench.records.schema import State
    from workbench.studies.adapted import train as train_adapted

    sizes: dict[str, Any] = {"batch": batch, "length": length, "train": train, "test": test, "epochs": epochs}
    asked = {"task": task, "model": model, "device": device, "budget": budget, "profile": profile, **sizes}
    asked |= {"held_out": held_out}
    own = {"method": method, "seed": seed, "accumulate": accumulate, "checkpoint_every": checkpoint_every}
    own |= {"cosines": cosines}
    _, values = together(
        lambda: request.asked(asked | own, request.Asked), lambda: options.method_settings(method, settings)
    )
    bench = open_bench(**asked)
    with cancelling() as cancel, sweeping(1) as observe:
        if adapter is not None or export is not None:
            if arena or checkpoint_every or cosines:
                allowed = "a run without --arena, --checkpoint-every and --cosines"
                raise BadInput("adapter", str(adapter or export), allowed)
            record = train_adapted(
                bench, method, seed, adapter=adapter, export=export, accumulate=accumulate, observe=observe,
                cancel=cancel, **values,
            )  # fmt: skip
        else:
            record = bench.run(
                method, seed, accumulate=accumulate, arena=arena, checkpoint_every=checkpoint_every, cosines=cosines,
                observe=observe, cancel=cancel, **values,
            )  # fmt: skip
    if as_json:
        show_json(record.to_dict())
    else:
        _show_records([record])
        if record.arena:
            note(_arena_words(record.arena))
        if record.held_out:
            note("{name} on {task}: {value:.4g}, {before:.4g} before tuning".format(**record.held_out))
        for sentence in (record.reason, *record.notes, record.ways_sentence):
            if sentence:
                note(sentence)
    if record.state in (State.REFUSED, State.OVER_BUDGET):
        raise typer.Exit(BudgetExceeded.exit_code)
    if record.state is State.OUT_OF_MEMORY:
        raise typer.Exit(ResourceMissing.exit_code)
    if record.state is not State.DONE:
        raise typer.Exit(1)


def ablate(
    axes: Annotated[
        list[str] | None, typer.Argument(help="AXIS=VALUE,VALUE,... such as method=full,lora seed=0,1,2 r=4,8.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A TOML file that says all of this; options win.")] = None,
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    batch: options.Batch = None,
    length: options.Length = None,
    profile: Profile = "standard",
    train: options.Train = None,
    test: options.Test = None,
    epochs: options.Epochs = None,
    held_out: options.HeldOut = "",
    checkpoint_every: options.CheckpointEvery = 0,
    cosines: options.Cosines = 0,
    reference: Annotated[
        str, typer.Option("--reference", help="Methods, comma-separated, that run without the budget if they pass it.")
    ] = "",
    workers: Annotated[int, options.whole("--workers", help="Processes that share the grid.")] = 1,
    as_json: options.AsJson = False,
) -> None:
    """Run what is missing of a grid; finished cells cost nothing.

    The same command on another machine shares the work when both set PINTPOT_STORE to one PostgreSQL database.
    """
    from workbench.bench import open as open_bench
    from workbench.progress import sweeping

    sizes: dict[str, Any] = {"batch": batch, "length": length, "train": train, "test": test, "epochs": epochs}
    asked = {"task": task, "model": model, "device": device, "budget": budget, "profile": profile, **sizes}
    how = {"checkpoint_every": checkpoint_every, "cosines": cosines, "workers": workers}
    how |= {"reference": tuple(words(reference))}
    grid, asked = options.sweep(axes, file, asked | {"held_out": held_out} | how)
    how = {name: asked.pop(name) for name in how}
    bench = open_bench(**asked)
    total = math.prod(map(len, grid.values()))
    with cancelling() as cancel, sweeping(total) as observe:
        records = bench.ablate(grid, observe=observe, cancel=cancel, **how)
    if as_json:
        return show_json([r.to_dict() for r in records])
    _show_records(records)
    return None


def equal(
    ways: Annotated[list[str], typer.Argument(help="Methods with settings, each in quotes: 'lora r=8' full.")],
    by: Annotated[str, typer.Option("--by", help="time, flops or energy.")] = "time",
    amount: Annotated[float, options.real("--amount", help="Seconds, operations or joules each may spend.")] = 30.0,
    seeds: Annotated[str, typer.Option("--seeds", help="Comma-separated.")] = "0,1,2",
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    batch: options.Batch = None,
    profile: Profile = "standard",
    train: options.Train = None,
    test: options.Test = None,
    as_json: options.AsJson = False,
) -> None:
    """Train every way for as many steps as the same time, work or energy buys."""
    from workbench import request
    from workbench.bench import open as open_bench
    from workbench.progress import sweeping
    from workbench.studies.equal import UNITS
    from workbench.studies.equal import equal as run_equal

    asked = {"task": task, "model": model, "device": device, "budget": budget, "batch": batch, "profile": profile}
    asked |= {"train": train, "test": test}
    chosen = [parsed(seed) for seed in words(seeds)]
    together(
        lambda: request.asked({**asked, "amount": amount, "seeds": chosen}, request.Asked),
        lambda: one_of("by", by, UNITS),
        *(partial(request.way_checked, way) for way in ways),
    )
    bench = open_bench(**asked)
    with cancelling() as cancel, sweeping(len(ways) * len(chosen)) as observe:
        records = run_equal(bench, ways, by, amount, chosen, observe=observe, cancel=cancel)  # type: ignore[arg-type]
    if as_json:
        return show_json([r.to_dict() for r in records])
    _show_records(records)
    return None


def search(
    methods: Annotated[str, typer.Option(help="Comma-separated; the profile's if empty.")] = "",
    trials: Annotated[int, options.whole(help="How many proposals to try.")] = 20,
    task: options.Task = "",
    model: options.Model = "",
    device: options.Device = "this-host",
    budget: options.Budget = "",
    seed: Annotated[int, options.whole(help="Seed of the search and of the runs.")] = 0,
    batch: options.Batch = None,
    profile: Profile = "standard",
    as_json: options.AsJson = False,
) -> None:
    """Search methods and settings for the front of accuracy against memory."""
    from workbench import request
    from workbench.bench import open as open_bench
    from workbench.progress import sweeping
    from workbench.studies.search import search as look

    asked = {"task": task, "model": model, "device": device, "budget": budget, "batch": batch, "profile": profile}
    chosen = words(methods)
    request.asked({**asked, "methods": chosen, "trials": trials, "seed": seed}, request.Asked)
    bench = open_bench(**asked)
    with cancelling() as cancel, sweeping(trials) as observe:
        found = look(bench, chosen, trials, seed=seed, observe=observe, cancel=cancel)
    if as_json:
        return show_json({"front": [r.to_dict() for r in found.front], "tried": len(found.records)})
    note(f"{len(found.front)} of {len(found.records)} runs are on the front of score against measured peak.")
    _show_records(list(found.front))
    return None


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more run ids.")],
    differences_only: Annotated[bool, typer.Option("--diff", help="Only what differs.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Runs side by side: settings, prediction, measurement, score."""
    from workbench.records.store import RunStore

    if len(runs) < 2:
        raise BadInput("runs", runs, "at least two run ids")
    store = RunStore()
    facts = [_facts(store.get(r)) for r in runs]
    names = list(dict.fromkeys(n for f in facts for n in f))
    rows = [(n, *(str(f.get(n, "–")) for f in facts)) for n in names]
    if differences_only:
        rows = [row for row in rows if len(set(row[1:])) > 1]
    if as_json:
        return show_json([{n: f.get(n) for n in (row[0] for row in rows)} for f in facts])
    show_table("", ("", *runs), rows, "The runs do not differ.")
    return None


def _facts(record: Any) -> dict[str, Any]:
    asked = ("task", "model", "method", "seed", "state", "batch", "accumulate", "length", "budget")
    facts = {n: getattr(record, n) for n in asked}
    facts |= {f"setting {n}": v for n, v in record.config.items()}
    facts |= {
        "predicted peak": record.predicted.peak if record.predicted else None,
        "measured peak": record.measured.peak if record.measured else None,
        "highest peak of a step": record.steps_peak,
        "step seconds": record.step_time.value if record.step_time else None,
        "trainable": record.trainable,
        "adapter bytes": record.adapter_bytes,
        "score": record.score.get("value"),
        "data": str(record.data.get("hash", ""))[:12],
    }
    return facts


def _arena_words(use: Any) -> str:
    kept = use["planned_steps"] - use["left"]
    return (
        f"arena: {format_size(use['size'])} for a largest live set of {format_size(use['max_live'])}; "
        f"{kept} of {use['planned_steps']} planned steps kept to the plan, {use['misses']} allocations missed it"
    )


def _show_records(records: list[Any]) -> None:
    from workbench.figures.groups import group

    labels = {r.id: g.label for g in group(records) for r in g.runs}  # the method, and settings where they differ
    rows = [
        (
            r.id,
            labels[r.id],
            r.seed,
            r.state,
            "–" if r.accuracy is None else f"{r.accuracy:.3f}",
            format_size(r.predicted.peak) if r.predicted else "–",
            format_size(r.measured.peak) if r.measured else "–",
            "–" if r.peak_error is None else f"{r.predicted.peak - r.measured.peak:+d}",
            "–" if r.steps_peak is None else format_size(r.steps_peak),
            format_time(r.step_time.value) if r.step_time else "–",
            f"{r.trainable:,}",
            format_size(r.adapter_bytes) if r.adapter_bytes is not None else "–",
        )
        for r in records
    ]
    columns = (
        "run", "method", "seed", "state", "score", "predicted", "measured", "bytes off", "highest step", "step",
        "trained", "adapter",
    )  # fmt: skip
    show_table("", columns, rows, "Nothing was run.")
