"""All verbs, put together."""

from __future__ import annotations

import typer

from workbench.cli import asking, doctoring, listing, reporting, running

app = typer.Typer(
    name="pintpot",
    help="A quart into a pint pot: will it fit on my device, how long will it take, what does it cost in "
    "accuracy, and what must I change?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for module in (reporting, running, asking, listing, doctoring):
    module.add_to(app)
