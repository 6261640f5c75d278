"""Accuracy on the way: every way of tuning is trained once for each seed and scored at marks, for any currency.

The marks are where the same amount of time, work or energy is used up, so one set of runs answers which way is ahead
at equal time, at equal work and at equal energy; the measured peak of each says what it needs of memory. The learning
rate warms up and then stays, so that a run scored half-way is what a run of half the length would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.schedule import Schedule
from workbench.core.spelling import parsed_way
from workbench.keys import COUNTING, Kind
from workbench.records.schema import Quantity
from workbench.session import Session
from workbench.studies.equal import By, priced

if TYPE_CHECKING:
    from workbench.bench import Bench

CURRENCIES: tuple[By, ...] = ("flops", "time", "energy")
_TRAINING = (*COUNTING, "results.py", "session.py", "studies/courses.py")  #: what a course rests on
MARKS = (0.5, 1.0)  #: shares of the amount at which a run is scored


class Constant(Schedule):
    """Warm-up, then a constant rate."""

    def factor(self, step: int, total: int) -> float:
        return min(1.0, (step + 1) / max(1, round(self.warmup * total)))


@dataclass(frozen=True)
class Mark:
    """After ``step`` steps: loss on the test examples, and the task's metric there where it was asked for."""

    step: int
    loss: float
    metric: float | None = None


@dataclass(frozen=True)
class Course:
    """One way with one seed. ``prices`` of a step by currency, ``peak`` measured in bytes; ``end`` says why it stopped
    early, if it did. ``marks`` begin before the first step."""

    way: str
    seed: int
    marks: tuple[Mark, ...]
    prices: dict[str, Quantity]
    peak: int
    metric: str = ""
    end: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Course:
        marks = tuple(Mark(**m) for m in data["marks"])
        prices = {name: Quantity(**q) for name, q in data["prices"].items()}
        return cls(**{**data, "marks": marks, "prices": prices})

    def at(self, by: str, amount: float) -> Mark | None:
        """The last mark that ``amount`` of a currency pays for."""
        price = self.prices[by].value
        if not price:
            return None
        return max((m for m in self.marks if m.step * price <= amount * (1 + 1e-9)), key=lambda m: m.step, default=None)


@dataclass(frozen=True)
class Contest:
    """What is compared: ways on a bench, all paid what ``steps`` steps of ``reference`` cost.

    ``by_metric`` scores the task's metric too, which for tasks that generate text takes far longer than training.
    """

    bench: Bench
    ways: Sequence[str]
    steps: int
    reference: str = "full"
    by_metric: bool = True
    currencies: tuple[By, ...] = CURRENCIES
    _found: dict[str, dict[str, Quantity]] = field(default_factory=dict, repr=False)

    def prices(self) -> dict[str, dict[str, Quantity]]:
        """Price of a step of each way in each currency; a currency in which some way has none is left out."""
        if not self._found:
            if self.steps < 1:
                raise BadInput("steps", self.steps, "a whole number of at least 1")
            ways = list(dict.fromkeys((self.reference, *self.ways)))
            table = {by: priced(self.bench, ways, by) for by in self.currencies}
            usable = [by for by, prices in table.items() if all(p.value for p in prices)]
            self._found.update({way: {by: table[by][i] for by in usable} for i, way in enumerate(ways)})
        return self._found

    def amounts(self) -> dict[str, float]:
        """What everyone is paid, by currency."""
        return {by: self.steps * float(q.value or 0) for by, q in self.prices()[self.reference].items()}

    def marks(self, way: str) -> list[int]:
        """Steps after which a way is scored: where each share of each amount is used up."""
        own = self.prices()[way]
        return sorted(
            {int(share * a / float(own[by].value or 1)) for by, a in self.amounts().items() for share in MARKS}
        )

    def course(self, way: str, seed: int, tell: Callable[[str], None] = lambda _: None) -> Course:
        """Train one way with one seed to its last mark; a loss that is not finite ends it at the marks before."""
        import torch

        method, settings = parsed_way(way)
        marks = self.marks(way)
        session = Session(
            self.bench.case(method, **settings), seed, None, Constant(steps=max(1, marks[-1])), self.bench.sizes
        )
        session.prepare()
        found, peak, end = [self._scored(session, 0)], 0, ""
        try:
            for record in session.steps():
                peak = session.measured.peak if session.measured else 0  # without the instruments of some steps
                if record.step + 1 in marks:
                    with torch.random.fork_rng(devices=[]):
                        found.append(self._scored(session, record.step + 1))
                    tell(f"{way}, seed {seed}, step {record.step + 1} of {marks[-1]}: {found[-1]}")
        except FloatingPointError as error:
            end = str(error)
        return Course(way, seed, tuple(found), self.prices()[way], peak, session.case.task.metric, end)

    def _scored(self, session: Session, step: int) -> Mark:
        if not self.by_metric:
            return Mark(step, held_out_loss(session))
        metrics = session.score()
        known = metrics.details.get("loss")  # most tasks have it from the same pass
        return Mark(step, held_out_loss(session) if known is None else known, metrics.value)


def held_out_loss(session: Session, batch: int = 8) -> float:
    """Mean loss over the test examples, in evaluation mode."""
    from workbench.tasks.classification import evaluating

    task, spec, test = session.case.task, session.case.spec, session.data.test
    total = 0.0
    with evaluating(session.model):
        for start in range(0, len(test), batch):
            examples = test[start : start + batch]
            total += float(task.loss(session.model, task.collate(examples, spec))) * len(examples)
    return total / len(test)


def contest(asked: Contest, seeds: Sequence[int], *, tell: Callable[[str], None] = lambda _: None) -> list[Course]:
    """Every way with every seed. Courses are kept by content, so that what was run before costs nothing."""
    from workbench.predictions import kept

    made = []
    for way in asked.ways:
        method, settings = parsed_way(way)
        case = asked.bench.case(method, **settings)
        for seed in seeds:
            name = f"course {seed} {asked.marks(way)} {asked.bench.sizes} {asked.by_metric}"
            found = kept(case, Kind(name, _TRAINING), lambda w=way, s=seed: asked.course(w, s, tell).to_dict())  # type: ignore[misc]
            made.append(Course.from_dict(found))
    return made
