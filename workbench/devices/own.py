"""Devices of the user's own: TOML files in the form of the shipped ones, named in ``PINTPOT_DEVICES``."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from workbench.core.errors import BadInput
from workbench.core.own_file import named
from workbench.devices.model import Device, parse, shipped

VARIABLE = "PINTPOT_DEVICES"
LARGEST = 2**20  #: bytes of a device file


def load(file: str | Path) -> Device:
    """The device of a TOML file, known from now on by the file's name, also to processes started later.

    Raises ``BadInput`` for a file that is not there, that lacks a number, its kind or its source, or whose name is
    that of a shipped device. A file that was changed may be loaded again.
    """
    path = Path(file).expanduser().absolute()
    device = _read(str(path), _changed(path))
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*named(VARIABLE), str(path)]))
    return device


def own() -> Mapping[str, Device]:
    """Devices of the files that are named, by name. Raises ``BadInput`` for one that will not do."""
    return {device.name: device for device in (_read(name, _changed(Path(name))) for name in named(VARIABLE))}


def _changed(path: Path) -> tuple[int, int]:
    if path.suffix != ".toml" or not path.is_file() or path.stat().st_size > LARGEST:
        raise BadInput("device file", str(path), "a TOML file that exists, of at most 1 MiB, such as my-board.toml")
    return path.stat().st_mtime_ns, path.stat().st_size


@cache
def _read(name: str, changed: tuple[int, int]) -> Device:
    """Read once for each state of the file."""
    path = Path(name)
    if path.stem in shipped():
        raise BadInput("device file", path.name, f"a file name that no shipped device has; {path.stem} is one")
    try:
        return _sound(parse(tomllib.loads(path.read_text(encoding="utf-8")), path.stem))
    except KeyError as error:
        raise BadInput("device file", path.name, f"a file that says {error.args[0]}") from None
    except BadInput as error:
        raise BadInput("device file", path.name, f"sizes that can be read; {str(error).rstrip('.')}") from None
    except (ValueError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise BadInput("device file", path.name, f"a file like those of the library; {said}") from None


def _sound(device: Device) -> Device:
    """The device, if it could exist; raises ``ValueError`` naming the number that could not."""
    for name, number in device.quantities():
        if number.value is None or not 0 < number.value < math.inf:
            raise ValueError(f"{name} is {number.value}, and must be above zero and finite")
    if device.budget <= 0:
        raise ValueError("reserved is all of memory.size or more, so nothing is left for training")
    return device
