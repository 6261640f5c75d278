"""The map of papers: how many of each family stand here already, and every row with the paper's own number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.figures.info import FigureInfo
from workbench.figures.table import Column, Table
from workbench.papers import Paper

#: Status by colour: what is finished, what has a name in a registry, what is still to come.
STATES = (("done", "#009E73"), ("in progress", "#E69F00"), ("not yet", "#7D8590"))


@dataclass(frozen=True)
class FamilyBar:
    """Papers of one family, counted in the order of ``PapersInfo.states``."""

    family: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class PapersInfo(FigureInfo):
    """Families, most papers first."""

    kind: ClassVar[str] = "papers"

    states: tuple[str, ...]
    colours: tuple[str, ...]
    bars: tuple[FamilyBar, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [{"family": b.family, **dict(zip(self.states, b.counts))} for b in self.bars]


def state_of(paper: Paper) -> str:
    """``done`` as the row says it; a row that names something in a registry is in progress."""
    if paper.status == "done":
        return "done"
    return "in progress" if paper.name else "not yet"


def papers_map(rows: Sequence[Paper]) -> PapersInfo:
    """Papers by family and status."""
    names = tuple(name for name, _ in STATES)
    families = sorted({p.family for p in rows}, key=lambda f: (-sum(p.family == f for p in rows), f))
    bars = tuple(
        FamilyBar(f, tuple(sum(p.family == f and state_of(p) == n for p in rows) for n in names)) for f in families
    )
    return PapersInfo(
        title="Papers by family",
        caption="In progress: something in a registry bears the paper's name, its tests or page are still missing.",
        alt="; ".join(f"{b.family} {sum(b.counts)}, {b.counts[0]} done" for b in bars) + ".",
        runs=(),
        states=names,
        colours=tuple(colour for _, colour in STATES),
        bars=bars,
    )


def papers_answer(rows: Sequence[Paper]) -> str:
    """How far the map is, in one sentence."""
    states = [state_of(p) for p in rows]
    with_number = sum(bool(p.headline) for p in rows)
    return (
        f"Of {len(rows)} papers, {states.count('done')} are done here and {states.count('in progress')} in progress; "
        f"{with_number} state a headline of their own that was read at its source."
    )


def papers_table(rows: Sequence[Paper]) -> Table:
    """Every paper. A headline is the paper's own claim, never a result of ours."""
    columns = (
        Column("title", "Paper"),
        Column("year", "Year"),
        Column("family", "Family"),
        Column("kind", "Stands as"),
        Column("name", "Name here"),
        Column("state", "Status"),
        Column("headline", "The paper's own headline"),
        Column("provenance", "Read in"),
    )
    shown = tuple(
        {
            **p.to_dict(),
            "state": state_of(p),
            "headline": p.headline or f"none: {p.headline_note}",
            "fits": True if p.status == "done" else None,
        }
        for p in rows
    )
    text = f"{len(rows)} papers. Headlines are the papers' own claims, with where they were read, not results of ours."
    hidden = tuple(Column(k, k) for k in ("number", "notebook", "test"))
    return Table(columns, shown, text, hidden, filterable=True)
