"""What one may ask of a bench, whichever way it arrives: command line, file, notebook parameters, form, or Python.

One strict schema. Names are looked up in the registries, numbers have bounds, and every problem is said at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from workbench.core.config import Carried, Config, setting, validated
from workbench.core.errors import BadInput
from workbench.core.units import parse_size

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


class Request(Config):
    """Empty and ``None`` mean: as the profile or the task has it."""

    task: Annotated[str, _looked_up(_task)] = setting("", "what to learn")
    model: Annotated[str, _looked_up(_model)] = setting("", "a shipped name, path:DIR or hub:OWNER/NAME")
    device: Annotated[str, _looked_up(_device)] = setting("this-host", "a device profile")
    budget: Annotated[str | int, _looked_up(_budget)] = setting("", "memory for one training step")
    profile: Annotated[str, _looked_up(_profile)] = setting("standard", "how much is run")
    batch: int | None = setting(None, "examples in one micro-batch", ge=1, le=10**6)
    length: int | None = setting(None, "tokens of an example, or pixels a side", ge=1, le=10**7)
    train: int | None = setting(None, "training examples", ge=1, le=10**9)
    test: int | None = setting(None, "test examples", ge=1, le=10**9)
    epochs: float | None = setting(None, "passes over the training examples", gt=0, le=10**6)
    steps: int | None = setting(None, "steps, instead of passes", ge=1, le=10**9)
    methods: tuple[MethodName, ...] = setting((), "tuning methods")
    seeds: tuple[Annotated[int, _looked_up(lambda s: _seed(s))], ...] = setting((), "one run for each")


def _seed(value: int) -> None:
    if not 0 <= value < 2**63:
        raise BadInput("seeds", value, "whole numbers from 0")


def asked(values: Mapping[str, Any]) -> Request:
    """The request that ``values`` make. Raises ``BadInput``, for several problems ``ManyBadInputs``."""
    given = {n: tuple(v) if n in ("methods", "seeds") and _is_list(v) else v for n, v in values.items()}
    request = validated(Request, given, "")
    assert isinstance(request, Request)
    return request


class Sweep(Request):
    """A grid, the bench that it runs on and how, as a file says them."""

    axes: dict[str, tuple[Any, ...]] = setting({}, "values by axis: method, seed, batch, length or a setting")
    held_out: Annotated[str, _looked_up(_task)] = setting("", "another task that tuned models are asked about")
    checkpoint_every: int = setting(0, "steps between checkpoints, 0 for none", ge=0, le=10**9)
    workers: int = setting(1, "processes that share the grid", ge=1, le=256)


def sweep_of(file: Path) -> Sweep:
    """The sweep that a TOML file describes.

    Raises ``BadInput``, for several problems ``ManyBadInputs``; nothing in the file is run.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("file", file.name, f"a text file that can be read ({type(error).__name__})") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput("file", file.name, f"TOML ({error})") from None
    for name, axis in (("methods", "method"), ("seeds", "seed")):
        if name in values:
            raise BadInput(name, values[name], f"an axis: {axis} = [...] under [axes]")
    axes = values.get("axes")
    if isinstance(axes, dict):
        values["axes"] = {n: tuple(v) if _is_list(v) else v for n, v in axes.items()}
    sweep = validated(Sweep, values, "")
    assert isinstance(sweep, Sweep)
    for name, chosen in sweep.axes.items():
        if not chosen or len(set(map(repr, chosen))) < len(chosen):
            raise BadInput(f"axes.{name}", list(chosen), "at least one value, each once")
    if not sweep.axes:
        raise BadInput("axes", {}, 'at least one axis under [axes], such as method = ["full", "lora"]')
    return sweep


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
