"""Options that several verbs share, and how their text becomes typed values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.core.config import validated
from workbench.core.errors import BadInput
from workbench.core.spelling import parsed

Task = Annotated[str, typer.Option("--task", "-t", help="What to learn; see `pintpot tasks`.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A shipped name, path:DIR or hub:OWNER/NAME.")]
Device = Annotated[str, typer.Option("--device", "-d", help="A device profile; see `pintpot devices`.")]
Budget = Annotated[
    str,
    typer.Option("--budget", "-b", help="Memory for one training step, such as 256MiB; else the profile's."),
]
MethodName = Annotated[str, typer.Option("--method", help="A tuning method; see `pintpot methods`.")]
Batch = Annotated[int | None, typer.Option("--batch", help="Examples in one micro-batch.")]
Length = Annotated[int | None, typer.Option("--length", help="Tokens of an example (pixels a side for images).")]
Accumulate = Annotated[int, typer.Option("--accumulate", help="Micro-batches per step.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="A setting of the method, NAME=VALUE; repeat for more.")
]
Train = Annotated[int | None, typer.Option("--train", help="Training examples; the profile's or task's if not given.")]
Test = Annotated[int | None, typer.Option("--test", help="Test examples; the profile's or task's if not given.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes over the training examples.")]
CheckpointEvery = Annotated[
    int, typer.Option("--checkpoint-every", min=0, help="Steps between checkpoints; the same command resumes. 0: none.")
]
HeldOut = Annotated[str, typer.Option("--held-out", help="Another task that the tuned model is asked about.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON.")]


def pairs(given: list[str] | None, option: str) -> dict[str, Any]:
    """``NAME=VALUE`` texts to a mapping; refuses what has no name or comes twice."""
    found: dict[str, Any] = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(option, item, "NAME=VALUE with a plain name")
        if name in found:
            raise BadInput(option, name, "each name once")
        found[name] = parsed(value)
    return found


def axes(given: list[str]) -> dict[str, list[Any]]:
    """``AXIS=VALUE,VALUE,...`` texts to lists of values."""
    found: dict[str, list[Any]] = {}
    for item in given:
        name, equals, values = item.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput("axis", item, "AXIS=VALUE,VALUE,...")
        found[name] = [parsed(v.strip()) for v in values.split(",") if v.strip()]
        if not found[name]:
            raise BadInput("seeds" if name == "seed" else name, values, "at least one value")
    return found


def sweep(given: list[str] | None, file: Path | None, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Axes and options of a sweep, from the command line alone or from a file that options given there correct."""
    if file is None:
        if not given:
            raise BadInput("axes", "", "AXIS=VALUE,VALUE,... or --file")
        return axes(given), options
    from workbench.request import Sweep, sweep_of

    if given:
        raise BadInput("axes", " ".join(given), "either axes or --file, not both")
    found = sweep_of(file)
    own = {n: value for n, value in options.items() if value != Sweep.model_fields[n].default}
    values = {n: getattr(found, n) for n in (*options, "steps")}
    return {n: list(v) for n, v in found.axes.items()}, {**values, **own}


def method_settings(method: str, given: list[str] | None) -> dict[str, Any]:
    """Settings for one method, with whole numbers accepted where the config wants a float."""
    from workbench.methods.base import methods

    config = methods.get(method).Config
    values = pairs(given, "--set")
    for name, value in values.items():
        field = config.model_fields.get(name)
        if field is not None and field.annotation is float and isinstance(value, int) and not isinstance(value, bool):
            values[name] = float(value) if abs(value) < 2**53 else value
    validated(config, values, method)
    return values
