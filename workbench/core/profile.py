"""One value for training memory, whoever made it: predicted on fake tensors or measured on real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any


class Category(StrEnum):
    """What a live byte is for. A storage belongs to exactly one category however many views it has."""

    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer state"
    SAVED = "saved for backward"
    WORKSPACE = "workspace"
    INPUTS = "inputs"


class Phase(StrEnum):
    """Part of one training step. Zeroth-order steps have several forwards and no backward."""

    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"


class Tier(StrEnum):
    """How a profile came to be; printed wherever one of its numbers is."""

    FAKE = "predicted: fake tensors only"
    FORMULA = "predicted: fake tensors and workspace formula"
    PROBE = "predicted: fake tensors and workspace probe"
    MEASURED = "measured"
    TRACKED = "measured: workspace not measured"


@dataclass(frozen=True)
class Moment:
    """Live bytes after one event of a step, by category.

    ``changed`` says which module holds other bytes than at the moment before: (module, category, bytes now). At the
    first moment that is all that is held.
    """

    event: int
    phase: Phase
    operator: str
    module: str
    live: Mapping[Category, int]
    changed: tuple[tuple[str, Category, int], ...] = ()

    @property
    def total(self) -> int:
        return sum(self.live.values())


class StoredMoments(Sequence[Moment]):
    """A timeline as it was stored; moments are made when somebody asks for one.

    A sweep over many methods reads many profiles and looks at few timelines, which are most of what is in them.
    """

    def __init__(self, raw: Sequence[Mapping[str, Any]], modules: Sequence[str]) -> None:
        self._raw, self._modules = raw, modules

    @cached_property
    def _moments(self) -> tuple[Moment, ...]:
        return tuple(map(self._moment, self._raw))

    def _moment(self, raw: Mapping[str, Any]) -> Moment:
        changed = tuple((self._modules[at], Category(c), int(size)) for at, c, size in raw.get("changed", ()))
        return Moment(raw["event"], Phase(raw["phase"]), raw["operator"], raw["module"], _split(raw["live"]), changed)

    def __len__(self) -> int:
        return len(self._raw)

    def __getitem__(self, place: Any) -> Any:
        return self._moments[place]

    def __eq__(self, other: object) -> bool:
        return self._moments == (other._moments if isinstance(other, StoredMoments) else other)

    def __hash__(self) -> int:
        return hash(len(self))

    def __repr__(self) -> str:
        return repr(self._moments)


def _split(raw: Mapping[str, int]) -> dict[Category, int]:
    return {Category(k): int(v) for k, v in raw.items()}


@dataclass(frozen=True, repr=False)
class MemoryProfile:
    """Memory of one training step in bytes.

    ``peak`` is the maximum over time of live bytes, never a sum of category peaks; ``by_category`` and
    ``by_module`` describe that one moment and each sum to ``peak``. ``by_phase`` holds the same split at
    the highest moment of each phase. ``saved_by_module`` is what autograd keeps between forward and
    backward. ``outside`` is memory that torch's allocator never sees, by name; it is not in ``peak``.
    ``remarks`` are sentences without which the peak would mislead.
    """

    source: Tier
    peak: int
    phase: Phase
    operator: str
    module: str
    by_category: Mapping[Category, int]
    by_phase: Mapping[Phase, Mapping[Category, int]] = field(default_factory=dict)
    by_module: Mapping[str, int] = field(default_factory=dict)
    saved_by_module: Mapping[str, int] = field(default_factory=dict)
    timeline: Sequence[Moment] = ()
    outside: Mapping[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<MemoryProfile, {self.source}: {self.sentence()}>"

    @property
    def workspace_known(self) -> bool:
        return self.source in (Tier.MEASURED, Tier.PROBE)

    @property
    def binding_category(self) -> Category:
        """The largest category at the peak: the one to attack first."""
        return max(self.by_category, key=lambda c: self.by_category[c])

    @property
    def saved(self) -> int:
        return sum(self.saved_by_module.values())

    def held(self) -> Iterator[dict[tuple[str, Category], int]]:
        """Bytes by module and category at each moment of the timeline; they sum to the moment's ``live``.

        Nothing for a profile that was stored before moments had modules.
        """
        if not any(m.changed for m in self.timeline):
            return
        now: dict[tuple[str, Category], int] = {}
        for moment in self.timeline:
            for module, category, size in moment.changed:
                now[module, category] = size
            yield {key: size for key, size in now.items() if size}

    def sentence(self) -> str:
        """The peak explained in one sentence that follows from the trace."""
        from workbench.core.units import format_size

        top = self.binding_category
        where = f" in {self.module}" if self.module else ""
        return (
            f"The peak of {format_size(self.peak)} is reached in the {self.phase} phase at {self.operator}{where}; "
            f"{format_size(self.by_category[top])} of it ({self.by_category[top] / max(self.peak, 1):.0%}) is {top}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; modules of the timeline are named once and referred to by their place."""
        data = asdict(replace(self, timeline=()))
        modules: dict[str, int] = {}
        data["timeline"] = [
            {
                "event": m.event,
                "phase": m.phase,
                "operator": m.operator,
                "module": m.module,
                "live": dict(m.live),
                "changed": [(modules.setdefault(at, len(modules)), c, size) for at, c, size in m.changed],
            }
            for m in self.timeline
        ]
        data["modules"] = list(modules)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MemoryProfile:
        return cls(
            source=Tier(data["source"]),
            peak=int(data["peak"]),
            phase=Phase(data["phase"]),
            operator=data["operator"],
            module=data["module"],
            by_category=_split(data["by_category"]),
            by_phase={Phase(k): _split(v) for k, v in data["by_phase"].items()},
            by_module=dict(data["by_module"]),
            saved_by_module=dict(data["saved_by_module"]),
            timeline=StoredMoments(data["timeline"], data.get("modules", ())),
            outside=dict(data["outside"]),
            assumptions=tuple(data["assumptions"]),
            remarks=tuple(data.get("remarks", ())),
        )
