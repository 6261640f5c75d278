"""Verbs that make or open pages: report, lab, app."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli import options
from workbench.cli.printing import note, say, show_table
from workbench.core.errors import BadInput, BudgetExceeded, Interrupted, one_of, together
from workbench.core.units import parse_size
from workbench.report.execution import CELL_TIMEOUT, Limits

if TYPE_CHECKING:
    from workbench.cli.serving import Server


def add_to(app: typer.Typer) -> None:
    app.command()(report)
    app.command()(lab)
    app.command("app")(app_)


def report(
    name: Annotated[str, typer.Argument(help="A report by name, or `all`; none lists them.")] = "",
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE; repeat for more.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write into.")] = None,
    cell_timeout: Annotated[float, options.real(help="Seconds a cell may run.")] = CELL_TIMEOUT,
    memory: Annotated[str, typer.Option(help="Memory the notebook may take, such as 4GiB; else the machine's.")] = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it to PDF as well, by an installed Chromium.")] = False,
) -> None:
    """Run a notebook and write one self-contained HTML file. With `all`, each takes of the parameters those it has."""
    from workbench.report.pdf import print_to_pdf
    from workbench.report.run import available, render
    from workbench.request import Asked, asked

    if not name:
        if parameters or out or memory or pdf:
            one_of("report", name, ["all", *available()])
        rows = [(n, p.name) for n, p in sorted(available().items())]
        show_table("", ("report", "notebook"), rows, "No notebooks found.")
        return
    every = name == "all"
    (_, own), _ = together(
        lambda: options.pairs(parameters, "-p", lambda v: _own(v) if every else {name: _resolved(name, v)}),
        lambda: asked({"cell_timeout": cell_timeout, "memory": memory}, Asked),
    )
    limits = Limits(cell_timeout, parse_size(memory, "memory") if memory else None)
    failed = over = False
    for each, values in own.items():
        made = render(each, values, out=out, check=_meaningful, progress=sys.stderr.isatty(), limits=limits)
        say(str(made.html))
        if pdf:
            say(str(print_to_pdf(made.html)))
        if made.ended == "interrupted":
            raise Interrupted(f"{each} was stopped; the page shows how far it came and the same command makes it anew")
        if made.failed:
            failed, over = True, over or made.ended in ("over budget", "out of memory")
            where = ", ".join(map(str, made.failed))
            note(f"{each}: {made.ended} in cell {where}: {made.error}; the page shows how far it came")
    if over:
        raise typer.Exit(BudgetExceeded.exit_code)
    if failed:
        raise typer.Exit(1)


def _own(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the values those that each report has a parameter for. Raises ``UnknownName`` for one that none has."""
    from workbench.report.run import available, parameters

    known = {name: parameters(name) for name in sorted(available())}
    everything = {parameter for found in known.values() for parameter in found}
    own = {name: {k: v for k, v in values.items() if k in found} for name, found in known.items()}
    unknown = (partial(one_of, "parameter", given, everything) for given in values)
    together(*unknown, *(partial(_resolved, *each) for each in own.items()))  # all, before the first page is made
    return own


def _resolved(name: str, values: dict[str, Any]) -> dict[str, Any]:
    from workbench.report.run import resolved

    return resolved(name, values, _meaningful)


def _meaningful(values: dict[str, Any]) -> None:
    """Names and sizes that several notebooks take mean the same in all of them."""
    if values.get("profile"):
        from workbench.profiles import profile

        profile(values["profile"])
    if "device" in values and "budget" in values:
        from workbench.bench import check

        check(values)


def lab(
    port: Annotated[int, options.whole(help="Port on this machine.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    address: Annotated[str, typer.Option(help="Another than this machine alone wants a certificate.")] = "127.0.0.1",
    certificate: Annotated[Path | None, typer.Option(help="PEM file, for an address others can reach.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
) -> None:
    """JupyterLab on the notebooks, on this machine only, with a fresh token.

    It works on the notebooks themselves: what you write into them stays there, and so do outputs when it saves.
    """
    from workbench.cli.serving import Server
    from workbench.core import paths
    from workbench.request import Asked, asked

    first = min((p.name for p in paths.notebooks().glob("*.ipynb")), default="")
    server = Server(paths.notebooks(), address, port, certificate, key, browser, first)
    together(
        lambda: asked({"port": port}, Asked), server.command
    )  # refuses before it asks whether anything is installed
    _installed("jupyterlab", "JupyterLab", "lab")
    if not paths.notebooks().is_dir():
        raise BadInput("notebooks", str(paths.notebooks()), "a checkout with a notebooks folder")
    _serve("JupyterLab", server)


def app_(
    name: Annotated[str, typer.Argument(help="A report by name; `pintpot report` lists them.")] = "first-run",
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE; repeat for more.")
    ] = None,
    port: Annotated[int, options.whole(help="Port on this machine.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    address: Annotated[str, typer.Option(help="An address of this machine alone.")] = "127.0.0.1",
) -> None:
    """A notebook as a page of live panels without its code, on this machine only, with a fresh token."""
    from workbench.cli.dashboard import Dashboard, with_values
    from workbench.report.run import notebook_of
    from workbench.request import Asked, asked

    _, _, (_, values) = together(
        lambda: asked({"port": port}, Asked),
        Dashboard(Path(), address, port).command,
        lambda: options.pairs(parameters, "-p", partial(_resolved, name)),
    )
    notebook = notebook_of(name)
    _installed("voila", "Voila", "app")
    with with_values(notebook, values) as copy:
        server = Dashboard(copy.parent, address, port, page=copy.name)
        _serve("Voila", server, copy.parent.parent if browser else None)


def _installed(module: str, name: str, extra: str) -> None:
    from importlib.util import find_spec

    from workbench.core.errors import ResourceMissing

    if find_spec(module) is None:
        raise ResourceMissing(f"{name} is not installed; run: pip install 'pintpot[{extra}]'")


def _serve(name: str, server: Server, private: Path | None = None) -> None:
    """Run it to its end. ``private`` is a folder of ours to open a browser from, where the server itself does not."""
    from workbench.cli.dashboard import open_browser
    from workbench.cli.serving import serve

    def ready(url: str) -> None:
        say(f"Open {url}")
        sys.stdout.flush()
        if private:
            open_browser(url, private)

    note(f"{name} starts; stop it with Ctrl-C.")
    raise typer.Exit(serve(server, ready))
