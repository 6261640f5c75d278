"""The map of papers: what represents each one here, how far it is, and the paper's own headline with its origin."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.core import paths
from workbench.core.errors import UnknownName

KINDS = ("method", "recipe", "strategy", "probe", "device", "page")
STATUSES = ("not yet", "done")
PROVENANCES = (
    "abstract",
    "paper text",
    "authors' code",
    "authors' figure",
)  #: all read directly, none recalled


@dataclass(frozen=True)
class Paper:
    """One row. ``name`` is what stands for the paper in the registry of its ``kind``; empty while there is none.

    ``notebook`` and ``test`` are paths relative to the checkout. ``headline`` is the paper's own number and
    ``provenance`` where it was read; without one, ``headline_note`` says why there is none.
    """

    number: int
    title: str
    family: str
    kind: str
    year: int | None = None
    name: str = ""
    status: str = "not yet"
    notebook: str = ""
    test: str = ""
    headline: str = ""
    provenance: str = ""
    headline_note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def papers(path: Path | None = None) -> list[Paper]:
    """All rows in order of their number. Raises ``ValueError`` naming the row that is not well formed."""
    source = path or paths.data() / "papers.toml"
    rows = [Paper(**row) for row in tomllib.loads(source.read_text(encoding="utf-8"))["paper"]]
    for row in rows:
        if problem := malformed(row):
            raise ValueError(f"paper {row.number}: {problem}")
    return sorted(rows, key=lambda row: row.number)


def paper(number: int) -> Paper:
    """The row of that number. Raises ``UnknownName``."""
    rows = {str(row.number): row for row in papers()}
    if str(number) not in rows:
        raise UnknownName("number of a paper", number, rows)
    return rows[str(number)]


def malformed(paper: Paper) -> str | None:
    """What is wrong with the row itself, or ``None``."""
    if paper.kind not in KINDS:
        return f"kind {paper.kind!r} is none of {', '.join(KINDS)}"
    if paper.status not in STATUSES:
        return f"status {paper.status!r} is none of {', '.join(STATUSES)}"
    if bool(paper.headline) != bool(paper.provenance):
        return "a headline and its provenance come together"
    if paper.headline and paper.provenance not in PROVENANCES:
        return f"provenance {paper.provenance!r} is none of {', '.join(PROVENANCES)}"
    if not paper.headline and not paper.headline_note:
        return "no headline and no word on why"
    return None


def known_names() -> Mapping[str, Callable[[], list[str]]]:
    """For each kind, a function that lists the names that exist in this installation."""

    def registry(module: str, attribute: str) -> Callable[[], list[str]]:
        def names() -> list[str]:
            import importlib

            try:
                found = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError):
                return []
            return list(found() if callable(found) else found.names())

        return names

    return {
        "method": registry("workbench.methods.base", "methods"),
        "recipe": registry("workbench.recipes.base", "recipes"),
        "strategy": registry("workbench.federated.base", "strategies"),
        "probe": registry("workbench.probes.base", "probes"),
        "device": registry("workbench.devices.model", "names"),
    }


def check(paper: Paper, root: Path | None = None) -> list[str]:
    """Why the row may not be called done: entry point, test file or notebook that does not exist.

    A row that is not done has nothing to prove. A page's entry point is its notebook.
    """
    if paper.status != "done":
        return []
    root = root or paths.checkout() or Path.cwd()
    problems = []
    if paper.kind != "page":
        if not paper.name:
            problems.append(f"no {paper.kind} is named")
        elif paper.name not in known_names()[paper.kind]():
            problems.append(f"there is no {paper.kind} called {paper.name}")
    for what in ("test", "notebook"):
        given = getattr(paper, what)
        if not given:
            problems.append(f"no {what} is named")
        elif not (root / given).is_file():
            problems.append(f"{what} {given} does not exist")
    return problems


def chosen(families: Sequence[str] = ()) -> list[Paper]:
    """The rows of these families, of all when none is named. Raises ``UnknownName`` for a family that has no paper."""
    rows = papers()
    known = sorted({row.family for row in rows})
    for family in families:
        if family not in known:
            raise UnknownName("family of papers", family, known)
    return [row for row in rows if not families or row.family in families]
