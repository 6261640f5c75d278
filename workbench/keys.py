"""Under which key an answer about a case is kept: everything that decides it, from the case to the host."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core import paths
from workbench.core.profile import Tier
from workbench.core.versions import installed_version
from workbench.memory.compiler import compiler_at_hand
from workbench.memory.host import host
from workbench.records.content import content_key

if TYPE_CHECKING:
    from workbench.case import Case

#: Folders and files whose code decides the bytes of a step, and the files that decide what is counted in it.
_FOLDERS = ("core", "memory", "engine", "parts", "methods", "models", "tasks", "nn")
DECIDING = (*_FOLDERS, "case.py", "keys.py", "predictions.py")
COUNTING = ("devices/flops.py", "devices/record.py", "devices/work.py")


@dataclass(frozen=True)
class Kind:
    """A kind of answer: its name, the folders and files of this package that it rests on beside ``DECIDING``, and the
    tier of the trace that it follows from, where its bytes depend on that."""

    name: str
    rests_on: tuple[str, ...] = ()
    tier: Tier | None = None


def key_of(case: Case, kind: Kind) -> str:
    """The key of the answer of this kind about ``case``, on this host as it is now."""
    asked = {
        "what": kind.name,
        "tier": kind.tier,
        "code": code(*kind.rests_on),
        "host": host(),
        "bitsandbytes": installed_version("bitsandbytes"),  # whose operators have bytes of their own
    }
    if kind.tier is Tier.PROBE and not probed():  # workspace is then a formula's, and not for those who can probe it
        asked["workspace"] = "not probed"
    return content_key(identity(case) | asked)


_tried = False


def try_the_probe() -> None:
    """Find out whether workspace can be probed, which compiles: a compiler may be there and not work."""
    global _tried
    from workbench.memory import ledger

    ledger.available()
    _tried = True


def probed() -> bool:
    """Whether workspace is probed here, as far as it is known before anything is compiled."""
    if compiler_at_hand() is None or not _tried:
        return compiler_at_hand() is not None
    from workbench.memory import ledger

    return ledger.available()


def identity(case: Case) -> dict[str, Any]:
    """``case.identity()`` without the learning rate of our own methods, which decides no byte: what is tried at many
    rates is traced once. Asked for once, because the versions in it are read from files."""
    held: dict[str, Any] | None = case.__dict__.get("_identity")
    if held is None:
        held = case.identity()
        if not case.method.source:
            held["config"] = {name: value for name, value in held["config"].items() if name != "lr"}
        case.__dict__["_identity"] = held
    return held


@functools.cache
def code(*more: str) -> str:
    """Content of the code that decides an answer, so that a change of ours never serves a stale figure."""
    return hashlib.sha256("".join(map(_content, (*DECIDING, *more))).encode()).hexdigest()[:16]


@functools.cache
def _content(name: str) -> str:
    digest = hashlib.sha256()
    for file in files_of(name):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def files_of(name: str) -> list[Path]:
    """The files of a folder of this package that are code or are read by it; or the one file of that name."""
    place = paths.PACKAGE / name
    found = [place] if place.is_file() else [f for f in place.rglob("*") if f.suffix in (".py", ".toml", ".cpp")]
    if not found:
        raise FileNotFoundError(place)  # a name that is none would let every change of what was meant go unseen
    return sorted(found)
