"""What one may ask of a bench, whichever way it arrives: command line, file, notebook parameters, form, or Python.

One strict schema. Names are looked up in the registries, numbers have bounds, and every problem is said at once.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from workbench.case import LARGEST_BATCH
from workbench.core.config import Carried, Config, setting, validated
from workbench.core.errors import BadInput, UnknownName, one_of, together
from workbench.core.spelling import parsed_way
from workbench.core.units import format_size, parse_size

AXES = ("method", "seed", "batch", "length", "accumulate")  #: of a grid, beside every setting of its methods
LARGEST_GRID = 100_000  #: cells
LARGEST_FILE = 2**22  #: bytes of a sweep's file
LARGEST_BUDGET = 2**50  #: bytes; beyond 1 PiB a number is a slip of the finger


def _looked_up(check: Callable[[Any], Any]) -> AfterValidator:
    """Let ``check`` raise our own sentence; an empty value means "not given"."""

    def checked(value: Any) -> Any:
        if value != "":
            try:
                check(value)
            except BadInput as problem:
                raise Carried(problem) from None
        return value

    return AfterValidator(checked)


def _task(name: str) -> None:
    from workbench.tasks.base import tasks

    tasks.get(name)


def _other_task(name: str) -> None:
    from workbench.tasks.base import tasks

    one_of("held_out", name, tasks.names())


def _model(name: str) -> None:
    from workbench.models import resolve

    if "\0" in name or len(name) > 4096:
        raise BadInput("model", name[:40], "a shipped name, path:DIR or hub:OWNER/NAME")
    resolve(name)


def _device(name: str) -> None:
    from workbench.devices.model import get

    get(name)


def _profile(name: str) -> None:
    from workbench.profiles import profile

    profile(name)


def _method(name: str) -> None:
    from workbench.methods.base import methods

    methods.get(name)


def _budget(value: str | int) -> None:
    if parse_size(value) > LARGEST_BUDGET:
        raise BadInput("budget", value, "a positive size of at most 1 PiB, such as 256MiB")


MethodName = Annotated[str, _looked_up(_method)]


Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Request(Config):
    """Empty and ``None`` mean: as the profile or the task has it."""

    task: Annotated[str, _looked_up(_task)] = setting("", "what to learn")
    model: Annotated[str, _looked_up(_model)] = setting("", "a shipped name, path:DIR or hub:OWNER/NAME")
    device: Annotated[str, _looked_up(_device)] = setting("this-host", "a device profile")
    budget: Annotated[str | int, _looked_up(_budget)] = setting("", "memory for one training step")
    profile: Annotated[str, _looked_up(_profile)] = setting("standard", "how much is run")
    batch: int | None = setting(None, "examples in one micro-batch", ge=1, le=LARGEST_BATCH)
    length: int | None = setting(None, "tokens of an example, or pixels a side", ge=1, le=10**7)
    train: int | None = setting(None, "training examples", ge=1, le=10**9)
    test: int | None = setting(None, "test examples", ge=1, le=10**9)
    epochs: float | None = setting(None, "passes over the training examples", gt=0, le=10**6)
    steps: int | None = setting(None, "steps, instead of passes", ge=1, le=10**9)
    methods: tuple[MethodName, ...] = setting((), "tuning methods")
    seeds: tuple[Seed, ...] = setting((), "one run for each")
    held_out: Annotated[str, _looked_up(_other_task)] = setting("", "another task that tuned models are asked about")


class Sweep(Request):
    """A grid, the bench that it runs on and how, as a file says them."""

    axes: dict[str, tuple[Any, ...]] = setting({}, "values by axis: method, seed, batch, length or a setting")
    checkpoint_every: int = setting(0, "steps between checkpoints, 0 for none", ge=0, le=10**9)
    cosines: int = setting(0, "steps at which an estimate is compared with the true gradient", ge=0, le=10**9)
    reference: tuple[MethodName, ...] = setting((), "methods that may run without the budget where they pass it")
    workers: int = setting(1, "processes that share the grid", ge=1, le=256)


class Asked(Sweep):
    """All that a command can be given beside names of its own; each takes some of it."""

    method: MethodName = setting("", "a tuning method")
    seed: Seed = setting(0, "seed of fresh weights, order and noise")
    accumulate: int = setting(1, "micro-batches per step", ge=1, le=10**6)
    trials: int = setting(20, "proposals of a search", ge=1, le=10**6)
    amount: float = setting(30.0, "seconds, operations or joules", gt=0)
    port: int = setting(8888, "port on this machine", ge=1024, le=65535)
    cell_timeout: float = setting(600.0, "seconds a cell may run", ge=1)
    memory: Annotated[str, _looked_up(lambda text: parse_size(text, "memory"))] = setting("", "for a notebook")


def asked(values: Mapping[str, Any], schema: type[Request] = Request) -> Any:
    """The request that ``values`` make. Raises ``BadInput``, for several problems ``ManyBadInputs``."""
    given = {n: tuple(v) if n in ("methods", "seeds", "reference") and _is_list(v) else v for n, v in values.items()}
    return validated(schema, given, "")


def settings_checked(method: str, values: Mapping[str, Any]) -> None:
    """Refuse settings that the method does not have or whose values it does not take, all at once."""
    from workbench.methods.base import methods

    validated(methods.get(method).Config, dict(values), method)


def way_checked(way: str) -> None:
    """Refuse a method with settings in one line for all that is wrong with it."""
    method, settings = parsed_way(way)
    settings_checked(method, settings)


def axes_checked(axes: Mapping[str, Iterable[Any]]) -> None:
    """Refuse axes that no method of the grid has, values that mean nothing there, and a grid beyond ``LARGEST_GRID``:
    every problem at once."""
    from workbench.methods.base import methods

    grid = {name: list(values) for name, values in axes.items()}
    cells = math.prod(map(len, grid.values()))
    if cells > LARGEST_GRID:
        raise BadInput("axes", cells, f"a grid of at most {LARGEST_GRID:,} cells")
    named = [m for m in grid.get("method", ["full"]) if isinstance(m, str) and m in methods]
    configs = {method: methods.get(method).Config for method in named}
    together(*(partial(_axis_checked, name, values, configs) for name, values in grid.items()))


def _axis_checked(name: str, values: list[Any], configs: Mapping[str, type[Config]]) -> None:
    if not values:
        raise BadInput("seeds" if name == "seed" else name, values, "at least one value")
    if name in AXES:
        together(*(partial(_method, "") if name == "method" and v == "" else partial(asked, {name: v}, Asked)
                   for v in values))  # fmt: skip
        return
    fields = {field for config in configs.values() for field in config.model_fields}
    if configs and name not in fields:
        raise UnknownName("axis", name, [*AXES, *fields])
    together(*(partial(settings_checked, method, {name: v}) for method in configs for v in values))


def sweep_of(file: Path) -> Sweep:
    """The sweep that a TOML file describes.

    Raises ``BadInput``, for several problems ``ManyBadInputs``; nothing in the file is run.
    """
    values = _read(file)
    axes = values.get("axes")
    if isinstance(axes, dict):
        values["axes"] = axes = {n: tuple(v) if _is_list(v) else v for n, v in axes.items()}
    listed = {n: v for n, v in axes.items() if isinstance(v, tuple)} if isinstance(axes, dict) else {}
    misplaced = {"methods": "method", "seeds": "seed"}
    rest = {n: v for n, v in values.items() if n not in misplaced}
    found = together(
        *(partial(_is_an_axis, name, values[name], axis) for name, axis in misplaced.items() if name in values),
        lambda: validated(Sweep, rest, ""),
        *([partial(axes_checked, listed)] if axes == listed or "method" in listed else []),
        *(partial(_differ, name, chosen) for name, chosen in listed.items()),
        *([] if axes else [_no_axes]),
    )
    return next(sweep for sweep in found if isinstance(sweep, Sweep))


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise BadInput("file", file.name, f"a file of at most {format_size(LARGEST_FILE)}")
        return tomllib.loads(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("file", file.name, f"a text file that can be read ({type(error).__name__})") from None
    except ValueError as error:  # TOML's own error is one, and so is that of a number of thousands of digits
        raise BadInput("file", file.name, f"TOML ({error})") from None
    except RecursionError:
        raise BadInput("file", file.name, "TOML (lists within lists, too many for one sweep)") from None


def _is_an_axis(name: str, value: Any, axis: str) -> None:
    raise BadInput(name, value, f"an axis: {axis} = [...] under [axes]")


def _differ(name: str, chosen: tuple[Any, ...]) -> None:
    if len(set(map(repr, chosen))) < len(chosen):
        raise BadInput(f"axes.{name}", list(chosen), "at least one value, each once")


def _no_axes() -> None:
    raise BadInput("axes", {}, 'at least one axis under [axes], such as method = ["full", "lora"]')


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def choices() -> dict[str, list[str]]:
    """The shipped models that each task can be opened with."""
    from workbench.core.errors import Incompatible
    from workbench.models import models
    from workbench.tasks.base import tasks

    def serves(task: Any, spec: Any) -> bool:
        try:
            task().check(spec)
        except Incompatible:
            return False
        return True

    return {task.name: [name for name, spec in models().items() if serves(task, spec)] for task in tasks}
