"""Verbs that list what there is; none of them loads torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.devices import devices_app
from workbench.cli.printing import note, say, show_json, show_table
from workbench.core.units import format_size

assets_app = typer.Typer(help="Models and data that can be had, with licence and use.", invoke_without_command=True)
runs_app = typer.Typer(help="What has been run.", invoke_without_command=True)


def add_to(app: typer.Typer) -> None:
    app.command()(methods)
    app.command()(tasks)
    app.command()(models)
    app.command()(papers)
    app.add_typer(devices_app, name="devices")
    app.add_typer(assets_app, name="assets")
    app.add_typer(runs_app, name="runs")


def methods(
    name: Annotated[str, typer.Argument(help="Show one method with its settings.")] = "",
    family: Annotated[str, typer.Option(help="Only this family.")] = "",
    as_json: options.AsJson = False,
) -> None:
    """Tuning methods: family, paper, what each saves."""
    from workbench.methods.base import methods as registry

    if name:
        return _one_method(name, as_json)
    chosen = [m for m in registry if not family or m.card.family == family]
    if family and not chosen:
        from workbench.core.errors import UnknownName

        raise UnknownName("family", family, {m.card.family for m in registry})
    if as_json:
        return show_json([_method_data(m) for m in chosen])
    rows = [(m.name, m.card.family, m.card.title, m.card.paper, m.card.saves) for m in chosen]
    show_table("", ("method", "family", "title", "paper", "what it saves"), rows, "No methods.")
    return None


def _method_data(method: Any) -> dict[str, Any]:
    settings = [vars(s) for s in method.settings()]
    refusal = getattr(method, "refusal", "")
    return {"name": method.name, **vars(method.card), "refusal": refusal, "settings": settings}


def _one_method(name: str, as_json: bool) -> None:
    from workbench.methods.base import methods as registry

    method = registry.get(name)
    if as_json:
        return show_json(_method_data(method))
    card = method.card
    for label, text in (
        (card.title, card.summary),
        ("Paper", card.paper),
        ("Saves", card.saves),
        ("When", card.when),
        ("Step", card.equation),
        ("Refuses", getattr(method, "refusal", "")),
    ):
        if text:
            say(f"{label}: {text}")
    rows = [(s.name, s.type, s.default, _range(s), s.doc) for s in method.settings()]
    show_table("", ("setting", "type", "default", "allowed", "meaning"), rows, "No settings.")
    return None


def _range(setting: Any) -> str:
    if setting.choices:
        return ", ".join(map(str, setting.choices))
    low, high = setting.low, setting.high
    text = f"{'' if low is None else f'{low:g}'}–{'' if high is None else f'{high:g}'}"
    return f"{text} {setting.unit}".strip() if text != "–" else setting.unit


def tasks(as_json: options.AsJson = False) -> None:
    """Tasks: data, metric, default model."""
    from workbench.tasks.base import tasks as registry

    names = ("task", "title", "metric", "default_model", "trains", "assets")
    found = [(t.name, t.title, t.metric, t.default_model, [*t.kinds], [*t.assets]) for t in registry]
    if as_json:
        return show_json([dict(zip(names, values)) for values in found])
    rows = [(*values[:-2], *map(", ".join, values[-2:])) for values in found]
    show_table("", [name.replace("_", " ") for name in names], rows, "No tasks.")
    return None


def models(as_json: options.AsJson = False) -> None:
    """Models that ship; `path:DIR` and `hub:OWNER/NAME` work too."""
    from workbench.models import models as shipped

    found = list(shipped().values())
    if as_json:
        keys = ("name", "title", "kind", "parameters", "licence", "asset", "cost_only", "doc")
        return show_json([{k: getattr(m, k) for k in keys} for m in found])
    rows = [
        (
            m.name,
            m.kind,
            f"{m.parameters:,}",
            m.licence,
            m.asset or ("shapes only" if m.cost_only else "made here"),
            m.doc,
        )
        for m in found
    ]
    show_table("", ("model", "kind", "parameters", "licence", "weights", "what it is"), rows, "No models.")
    return None


def papers(as_json: options.AsJson = False) -> None:
    """The map of papers: what stands for each here, and how far it is."""
    from workbench.papers import papers as load

    found = load()
    if as_json:
        return show_json([p.to_dict() for p in found])
    rows = [(p.number, p.title, p.year or "–", p.family, p.status, p.name or "–", p.headline or "–") for p in found]
    show_table("", ("no", "title", "year", "family", "status", "here", "the paper's own number"), rows, "No papers.")
    return None


@assets_app.callback(invoke_without_command=True)
def assets(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Models and data: source, licence, allowed use, and whether they are in the cache."""
    if context.invoked_subcommand:
        return None
    from workbench.assets import catalogue, status

    found = list(catalogue().values())
    if as_json:
        return show_json([{**asdict(a), "size": a.size, "version": a.version, "status": status(a)} for a in found])
    rows = [(a.name, a.kind, status(a), format_size(a.size), a.licence, a.use, a.source) for a in found]
    show_table("", ("asset", "kind", "status", "size", "licence", "allowed use", "source"), rows, "No assets.")
    return None


@assets_app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Names of assets, models or tasks.")],
    force: Annotated[bool, typer.Option(help="Fetch again even when it is there.")] = False,
    accept: Annotated[bool, typer.Option(help="Accept an asset whose origin or licence is not settled.")] = False,
) -> None:
    """Fetch, verify and convert assets into the cache."""
    from workbench.assets import pull as fetch
    from workbench.progress import downloads

    for name in _asset_names(names):
        with downloads(name) as progress:
            fetch(name, progress=progress, force=force, accept=accept)
        note(f"{name}: ready")


def _asset_names(names: list[str]) -> list[str]:
    """Tasks and models stand for the assets that they need."""
    from workbench.assets import catalogue
    from workbench.core.errors import UnknownName
    from workbench.models import models as shipped
    from workbench.tasks.base import tasks as registry

    known = catalogue()
    found: list[str] = []
    for name in names:
        if name in known:
            wanted = [name]
        elif name in registry:
            wanted = list(registry.get(name).assets)
        elif name in shipped():
            wanted = [shipped()[name].asset] if shipped()[name].asset else []
        else:
            raise UnknownName("asset", name, {*known, *registry.names(), *shipped()})
        found += [w for w in wanted if w not in found]
    return found


@assets_app.command()
def verify(names: Annotated[list[str] | None, typer.Argument(help="Which; all cached ones if none.")] = None) -> None:
    """Check every byte of cached assets against the catalogue."""
    from workbench.assets import catalogue, status
    from workbench.assets import verify as check

    for name in names or [a.name for a in catalogue().values() if status(a) == "cached"]:
        check(name)
        say(f"{name}: every byte as it should be")


@runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 40,
    as_json: options.AsJson = False,
) -> None:
    """What has been run, newest first."""
    if context.invoked_subcommand:
        return None
    from workbench.records.store import RunStore

    store = RunStore()
    lines = store.lines(limit)
    if store.notice:
        note(store.notice)
    if as_json:
        return show_json([line._asdict() for line in lines])
    rows = [
        (
            line.id,
            line.created,
            line.task,
            line.model,
            line.method,
            line.seed,
            line.state,
            "–" if line.accuracy is None else f"{line.accuracy:.3f}",
            "–" if line.peak is None else format_size(line.peak),
        )
        for line in lines
    ]
    columns = ("run", "created", "task", "model", "method", "seed", "state", "score", "measured peak")
    show_table("", columns, rows, "No runs yet; `pintpot run` or `pintpot report compare-methods` makes some.")
    return None


@runs_app.command("sweeps")
def sweeps(as_json: options.AsJson = False) -> None:
    """Grids that workers share: how many cells wait, are under way, are over."""
    from workbench.records.store import RunStore
    from workbench.workers.status import sweeps as status

    found = status(RunStore().queue)
    if as_json:
        return show_json([s._asdict() for s in found])
    columns = ("sweep", "begun", "cells", "over", "under way", "waiting", "put back", "now")
    show_table("", columns, found, "No sweeps; `pintpot ablate --workers 2` makes one.")
    return None


@runs_app.command("show")
def show_run(run: str) -> None:
    """The whole record of one run, as JSON."""
    from workbench.records.store import RunStore

    show_json(RunStore().get(run).to_dict())


@runs_app.command("compare")
def compare_runs(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs, by id or an unambiguous beginning of it.")],
    everything: Annotated[bool, typer.Option("--all", help="Every fact, not only those that differ.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Runs side by side: in what they differ, and what came of it."""
    from workbench.core.errors import BadInput
    from workbench.figures.compare import compare
    from workbench.records.store import RunStore

    if len(runs) < 2:
        raise BadInput("runs", " ".join(runs), "at least two runs to compare")
    store = RunStore()
    found = compare([store.get(run) for run in runs])
    if as_json:
        return show_json(found.rows())
    shown = [line for line in found.lines if everything or line.differs]
    rows = [(line.section, line.name, *line.values) for line in shown]
    show_table(found.alt, ("", "fact", *found.columns), rows, "The runs do not differ in anything that was recorded.")
    return None


@runs_app.command("delete")
def delete_run(run: str) -> None:
    """Forget one run."""
    from workbench.records.store import RunStore

    RunStore().delete(run)
    say(f"{run}: forgotten")
