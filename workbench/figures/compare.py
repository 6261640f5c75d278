"""Runs side by side, line by line: what was asked, with which settings and data, where it ran, what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from workbench.core.units import format_size
from workbench.figures.groups import LONGEST, metric_of
from workbench.figures.info import FigureInfo, caption_of
from workbench.figures.table import show_value
from workbench.records.schema import Quantity, RunRecord

#: What decides a result, and what came of it; the reader who asks why two runs differ looks at the former first.
CAUSES = ("question", "settings", "data", "environment")


@dataclass(frozen=True)
class CompareLine:
    """One fact in every run: the printed values in the order of the columns."""

    section: str
    name: str
    values: tuple[str, ...]
    differs: bool


@dataclass(frozen=True)
class CompareInfo(FigureInfo):
    """Facts of runs as rows, the runs as columns."""

    kind: ClassVar[str] = "compare"
    module: ClassVar[str] = "compare"

    columns: tuple[str, ...]
    lines: tuple[CompareLine, ...]

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "section": line.section,
                "fact": line.name,
                **dict(zip(self.columns, line.values)),
                "differs": line.differs,
            }
            for line in self.lines
        ]


def compare(records: Sequence[RunRecord]) -> CompareInfo:
    """The facts of each run side by side; a fact that a run lacks is a dash there and counts as a difference."""
    facts = [dict(_facts(r)) for r in records]
    names = dict.fromkeys(name for found in facts for name in found)
    order = {section: i for i, section in enumerate((*CAUSES, "result"))}
    lines = []
    for section, name in sorted(names, key=lambda fact: order[fact[0]]):
        values = tuple(found.get((section, name), "–") for found in facts)
        lines.append(CompareLine(section, name, values, len(set(values)) > 1))
    runs = tuple(r.id for r in records)
    return CompareInfo(
        title="Runs side by side",
        caption=caption_of("Every fact that the runs recorded; a dash is not known or does not apply.", runs),
        alt=_alt(lines, len(records)),
        runs=runs,
        columns=_columns(records),
        lines=tuple(lines),
    )


def differences(one: RunRecord, other: RunRecord) -> tuple[tuple[str, str, str], ...]:
    """What was asked for differently, as (fact, value of the one, of the other); a setting that only one of them has,
    as other methods do, is left out."""
    sections = (one.config, other.config), (_question(one), _question(other))
    return tuple(
        (str(name), _printed(mine[name]), _printed(yours[name]))
        for mine, yours in reversed(sections)
        for name in mine
        if name in yours and name != "planned steps" and _printed(mine[name]) != _printed(yours[name])
    )


def _columns(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """Method and seed; runs that this does not tell apart are named by what was asked differently of them, and where
    that is nothing or too much, by the number of the column."""
    names = [f"{r.method}, seed {r.seed}" for r in records]
    asked = [{**r.config, **_question(r)} for r in records]
    alike = [[other for other, same in zip(asked, names) if same == name] for name in names]
    differing = [
        ", ".join(f"{fact} {_printed(own[fact])}" for fact in own if _varies(fact, others))
        for own, others in zip(asked, alike)
    ]
    named = [f"{name}, {more}" if more and len(more) <= LONGEST else name for name, more in zip(names, differing)]
    return tuple(
        f"{name} ({i})" if named.count(name) > 1 or names.count(name) > 1 else name for i, name in enumerate(named, 1)
    )


def _varies(fact: str, asked: Sequence[Mapping[str, Any]]) -> bool:
    return fact != "planned steps" and len({_printed(one.get(fact)) for one in asked}) > 1


def _alt(lines: Sequence[CompareLine], count: int) -> str:
    if not count:
        return "No runs to compare."
    causes = [line.name for line in lines if line.differs and line.section in CAUSES]
    if count == 1:
        return "One run alone: nothing to compare it with."
    said = ", ".join(causes[:8]) + (f" and {len(causes) - 8} more" if len(causes) > 8 else "")
    return f"{count} runs side by side. " + (f"They differ in {said}." if causes else "They were asked for alike.")


def _facts(record: RunRecord) -> Iterator[tuple[tuple[str, str], str]]:
    for section, found in (
        ("question", _question(record)),
        ("settings", record.config),
        ("data", record.data),
        ("environment", record.environment),
        ("result", _result(record)),
    ):
        for name, value in found.items():
            yield (section, str(name)), _printed(value)


def _printed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_printed(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(_printed, value)) or "–"
    return show_value(value)


def _question(record: RunRecord) -> dict[str, Any]:
    return {
        "task": record.task,
        "model": record.model,
        "method": record.method,
        "seed": record.seed,
        "device": record.device,
        "budget": _size(record.budget) or "none",
        "batch": record.batch,
        "accumulate": record.accumulate,
        "length": record.length or None,
        "planned steps": record.planned_steps,
    }


def _result(record: RunRecord) -> dict[str, Any]:
    score = record.score.get("value")
    seconds = Quantity(record.seconds, "measured")
    profile = record.measured or record.predicted
    return {
        "state": record.state.value,
        "reason": record.reason,
        str(record.score.get("name", "score")): None if score is None else metric_of([record]).shown(score),
        "steps done": len(record.steps),
        "first loss": record.steps[0].loss if record.steps else None,
        "last loss": record.steps[-1].loss if record.steps else None,
        "predicted peak": _size(record.predicted.peak if record.predicted else None),
        "measured peak": _size(record.measured.peak if record.measured else None),
        "highest peak of a step": _size(record.steps_peak),
        "binding category": None if profile is None else str(profile.binding_category),
        "step time": _quantity(record.step_time, _seconds),
        "step time on the device": _quantity(record.device_step_time, _seconds),
        "energy of a step on the device": _quantity(record.device_step_energy, _joules),
        "trainable parameters": record.trainable,
        "saved adapter": _size(record.adapter_bytes),
        "whole run": _quantity(seconds, _seconds),
        "made": record.created.replace("T", " ").replace("+00:00", " UTC"),
    }


def _size(size: int | None) -> str | None:
    return None if size is None else format_size(size)


def _seconds(value: float) -> str:
    return show_value(value, "seconds")


def _joules(value: float) -> str:
    return show_value(value, "joules")


def _quantity(quantity: Quantity | None, show: Callable[[float], str]) -> str | None:
    """A number with its kind, which is part of what differs."""
    if quantity is None or quantity.value is None:
        return None
    return f"{show(quantity.value)} ({quantity.kind})"
