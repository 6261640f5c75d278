"""What a search chooses to train at each budget: parts with worth and cost, and picks beside plain choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.spelling import parsed_way
from workbench.core.units import format_size
from workbench.figures.info import FigureInfo, percent

if TYPE_CHECKING:
    from workbench.bench import Bench
    from workbench.studies.budget_search import BudgetSearch

PLAIN = ("searched", "the last ones that fit", "by chance, mean of 8 draws")
COLOURS = ("#0072B2", "#D55E00", "#7D8590")


@dataclass(frozen=True)
class PickView:
    """One budget: places of the chosen parts, cost, and the worth of the search, of the last ones and by chance.

    ``command`` and ``python`` ask for a run of the choice; empty where no method takes it by name.
    """

    budget: int
    chosen: tuple[int, ...]
    cost: int
    worth: tuple[float, float, float]
    command: str
    python: str


@dataclass(frozen=True)
class SearchView:
    """One kind of budget. ``parts`` stand from the input to the output; ``worths`` are shares of all worth."""

    what: str
    unit: str
    worth: str
    parts: tuple[str, ...]
    worths: tuple[float, ...]
    alone: tuple[int, ...]
    picks: tuple[PickView, ...]
    full: int


@dataclass(frozen=True)
class BudgetSearchInfo(FigureInfo):
    """Budgets x parts, one view for each kind of budget."""

    kind: ClassVar[str] = "budget_search"
    module: ClassVar[str] = "budget_search"

    names: tuple[str, ...]
    colours: tuple[str, ...]
    searches: tuple[SearchView, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "budget in": view.what,
                "budget": pick.budget,
                "cost": pick.cost,
                "part": part,
                "share of worth": worth,
                "cost alone": alone,
                "trains": i in pick.chosen,
            }
            for view in self.searches
            for pick in view.picks
            for i, (part, worth, alone) in enumerate(zip(view.parts, view.worths, view.alone))
        ]


def budget_search(bench: Bench, found: Sequence[BudgetSearch]) -> BudgetSearchInfo:
    """The picture of searches of :mod:`workbench.studies.budget_search` on one bench."""
    views = tuple(_view(bench, one) for one in found)
    said = "; ".join(f"{v.what}: {_middle(v)}" for v in views)
    return BudgetSearchInfo(
        title="What a budget buys, and which parts the search picks",
        caption="Shares of worth are added up, which is an assumption; costs are those of the choice as a whole, "
        "predicted or counted from the captured step, since parts share what they need. "
        + " ".join(f"Worth for {v.what}: {v.worth}." for v in views),
        alt=f"Parts chosen at each budget. {said}." if said else "No search was given.",
        runs=(),
        names=PLAIN,
        colours=COLOURS,
        searches=views,
    )


def amount(value: float, unit: str) -> str:
    """A cost in words.

    >>> amount(3 << 20, "bytes"), amount(2.5e9, "FLOP")
    ('3.00 MiB', '2.5 GFLOP')
    """
    if unit == "bytes":
        return format_size(int(value))
    for scale, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.3g} {name}FLOP"
    return f"{value:.3g} FLOP"


def _middle(view: SearchView) -> str:
    pick = view.picks[len(view.picks) // 2]
    searched, last, chance = map(percent, pick.worth)
    return (
        f"at {amount(pick.budget, view.unit)} of {amount(view.full, view.unit)}, {len(pick.chosen)} of "
        f"{len(view.parts)} parts hold {searched} of the worth, the last ones {last}, by chance {chance}"
    )


def _view(bench: Bench, found: BudgetSearch) -> SearchView:
    picks = []
    for pick in found.picks:
        method, settings = parsed_way(pick.way) if pick.way else ("", {})
        picks.append(
            PickView(
                pick.budget,
                tuple(i for i, taken in enumerate(pick.chosen) if taken),
                pick.cost,
                (pick.worth, pick.last, pick.chance),
                bench.run_command(method, **settings) if method else "",
                bench.run_python(method, 0, **settings) if method else "",
            )
        )
    return SearchView(
        found.what,
        found.unit,
        found.worth,
        tuple(p.label for p in found.parts),
        tuple(p.worth for p in found.parts),
        tuple(p.alone for p in found.parts),
        tuple(picks),
        found.full,
    )
