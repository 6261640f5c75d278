"""Options that several verbs share, and how their text becomes typed values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.core.config import validated
from workbench.core.errors import BadInput, together
from workbench.core.spelling import parsed


def number(text: Any) -> Any:
    """The number that a text says, else the text: the schema refuses it together with everything else."""
    for kind in (int, float):
        try:
            return kind(text) if isinstance(text, str) else text
        except ValueError:
            continue
    return text


def whole(*names: str, help: str) -> Any:
    """An option whose bounds the schema knows; what is given may be no whole number."""
    return typer.Option(*names, help=help, parser=number, metavar="<int>")


def real(*names: str, help: str) -> Any:
    """An option whose bounds the schema knows; what is given may be no number."""
    return typer.Option(*names, help=help, parser=number, metavar="<float>")


Task = Annotated[str, typer.Option("--task", "-t", help="What to learn; see `pintpot tasks`.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A shipped name, path:DIR or hub:OWNER/NAME.")]
Device = Annotated[str, typer.Option("--device", "-d", help="A device profile; see `pintpot devices`.")]
Budget = Annotated[
    str,
    typer.Option("--budget", "-b", help="Memory for one training step, such as 256MiB; else the profile's."),
]
MethodName = Annotated[str, typer.Option("--method", help="A tuning method; see `pintpot methods`.")]
Batch = Annotated[int | None, whole("--batch", help="Examples in one micro-batch.")]
Length = Annotated[int | None, whole("--length", help="Tokens of an example (pixels a side for images).")]
Accumulate = Annotated[int, whole("--accumulate", help="Micro-batches per step.")]
Padded = Annotated[bool, typer.Option("--padded", help="Texts end early, each half as long as the one before.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="A setting of the method, NAME=VALUE; repeat for more.")
]
Train = Annotated[int | None, whole("--train", help="Training examples; the profile's or task's if not given.")]
Test = Annotated[int | None, whole("--test", help="Test examples; the profile's or task's if not given.")]
Epochs = Annotated[float | None, real("--epochs", help="Passes over the training examples.")]
CheckpointEvery = Annotated[
    int, whole("--checkpoint-every", help="Steps between checkpoints; the same command resumes. 0: none.")
]
Cosines = Annotated[
    int, whole("--cosines", help="Steps at which an estimated gradient is compared with the true one. 0: none.")
]
HeldOut = Annotated[str, typer.Option("--held-out", help="Another task that the tuned model is asked about.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON.")]


def _pairs(given: list[str] | None, option: str) -> tuple[dict[str, Any], list[BadInput]]:
    found: dict[str, Any] = {}
    problems = []
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            problems.append(BadInput(option, item, "NAME=VALUE with a plain name"))
        elif name in found:
            problems.append(BadInput(option, name, "each name once"))
        else:
            found[name] = parsed(value)
    return found, problems


def pairs(given: list[str] | None, option: str, check: Callable[[dict[str, Any]], Any]) -> tuple[dict[str, Any], Any]:
    """``NAME=VALUE`` texts as a mapping, and what ``check`` says of it.

    Raises ``BadInput`` for what has no name or comes twice, together with what ``check`` refuses.
    """
    found, problems = _pairs(given, option)
    answer = together(lambda: check(found), *(partial(refuse, problem) for problem in problems))[0]
    return found, answer


def refuse(problem: BadInput) -> None:
    raise problem


def _axes(given: list[str]) -> tuple[dict[str, list[Any]], list[BadInput]]:
    found: dict[str, list[Any]] = {}
    problems = []
    for item in given:
        name, equals, values = item.partition("=")
        if not equals or not name.isidentifier():
            problems.append(BadInput("axis", item, "AXIS=VALUE,VALUE,..."))
        elif name in found:
            problems.append(BadInput("axis", name, "each axis once"))
        else:
            found[name] = [parsed(v.strip()) for v in values.split(",") if v.strip()]
    return found, problems


def axes(given: list[str], check: Callable[[dict[str, list[Any]]], Any]) -> dict[str, list[Any]]:
    """``AXIS=VALUE,VALUE,...`` texts as lists of values.

    Raises ``BadInput`` for what is no axis, together with what ``check`` refuses of the others.
    """
    found, problems = _axes(given)
    together(lambda: check(found), *(partial(refuse, problem) for problem in problems))
    return found


def sweep(given: list[str] | None, file: Path | None, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Axes and options of a sweep, from the command line alone or from a file that options given there correct."""
    from workbench.request import Sweep, asked, axes_checked, sweep_of

    if file is None:
        if not given:
            together(lambda: asked(options, Sweep), partial(refuse, BadInput("axes", "", "AXIS=VALUE,... or --file")))
        return together(lambda: axes(given or [], axes_checked), lambda: asked(options, Sweep))[0], options
    wrong = [BadInput("axes", " ".join(given), "either axes or --file, not both")] if given else []
    asks = (partial(refuse, problem) for problem in wrong)
    found = together(lambda: sweep_of(file), lambda: asked(options, Sweep), *asks)[0]
    own = {n: value for n, value in options.items() if value != Sweep.model_fields[n].default}
    values = {n: getattr(found, n) for n in (*options, "steps")}
    return {n: list(v) for n, v in found.axes.items()}, {**values, **own}


def method_settings(method: str, given: list[str] | None) -> dict[str, Any]:
    """Settings for one method, with whole numbers accepted where the config wants a float."""
    from workbench.methods.base import methods

    def check(values: dict[str, Any]) -> None:
        config = methods.get(method).Config
        for name, value in values.items():
            field = config.model_fields.get(name)
            if field is not None and field.annotation is float and type(value) is int:
                values[name] = float(value) if abs(value) < 2**53 else value
        validated(config, values, method)

    return pairs(given, "--set", check)[0]
