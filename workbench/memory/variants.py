"""The same step under other answers, numbers and draws: whether any byte of its prediction hangs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workbench.core.errors import Incompatible
from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size
from workbench.memory.answers import LOWEST, OTHER_NUMBERS, Answers, Site
from workbench.memory.events import EventLog
from workbench.memory.shapes import refused

#: A profile of a step, and the log that it was replayed from.
Traced = tuple[MemoryProfile, EventLog]
Runs = Callable[..., Iterator[Traced]]  #: ``runs(answers, seed=0)``: the step with these answers and draws
OTHER_SEEDS = (1, 2)


def checked(runs: Runs, answers: Answers, profile: MemoryProfile, log: EventLog) -> Traced:
    """``profile``, refused where other answers or numbers lead to other bytes; of other draws the highest counts."""
    for site in answers.asked.keys() - answers.settled:
        _check(runs, answers.contrary(site), site, profile)
    for number in OTHER_NUMBERS if answers.numbers_read else ():
        _check_number(runs, answers.with_number(number), profile)
    if answers.drawn:
        profile = _at_most(runs, answers.with_draw(LOWEST), profile)
    if answers.chance:
        return _by_chance(runs, answers, profile, log)
    return profile, log


def _by_chance(runs: Runs, answers: Answers, profile: MemoryProfile, log: EventLog) -> Traced:
    """The highest of a few seeds, with a remark where they differ."""
    tries = [(profile, log)]
    try:
        tries += [next(runs(answers.with_draw(answers.draw), seed=seed)) for seed in OTHER_SEEDS]
    except Exception as error:
        raise refused("a number drawn at random") from error
    if all(_same(other, profile) for other, _ in tries[1:]):
        return profile, log
    peaks = sorted(other.peak for other, _ in tries)
    highest, its_log = max(tries, key=lambda one: one[0].peak)
    said = (
        f"numbers drawn at random decide what this step allocates: {len(tries)} seeds peaked at "
        f"{format_size(peaks[0])} to {format_size(peaks[-1])}, and a run that draws others may rise higher"
    )
    notes = dict.fromkeys((*highest.assumptions, *profile.assumptions))
    return replace(highest, assumptions=tuple(notes), remarks=(*highest.remarks, said)), its_log


def _check(runs: Runs, contrary: Answers, site: Site, profile: MemoryProfile) -> None:
    """Refuse unless the contrary answer at ``site`` stops the step at once or leads to the same bytes."""
    try:
        other, _ = next(runs(contrary))
    except Incompatible:
        raise
    except Exception as error:
        if contrary.last != site:
            raise refused("a truth value computed from floating-point data") from error
        return
    if not _same(other, profile) or site not in contrary.asked:
        raise refused("a truth value computed from floating-point data")


def _check_number(runs: Runs, answers: Answers, profile: MemoryProfile) -> None:
    """Refuse unless another number in the place of those that were read leads to the same bytes."""
    try:
        other, _ = next(runs(answers))
    except (ArithmeticError, ValueError):
        return  # no number that the step could have met, such as a negative one under a root
    except Incompatible:
        raise
    except Exception as error:
        raise refused("a number computed from floating-point data") from error
    if not _same(other, profile):
        raise refused("a number computed from floating-point data")


def _at_most(runs: Runs, answers: Answers, profile: MemoryProfile) -> MemoryProfile:
    """``profile``, which is of the highest draws, with a word where the lowest ones lead to other bytes."""
    try:
        other, _ = next(runs(answers))
    except Exception as error:
        raise refused("a number drawn at random") from error
    if _same(other, profile):
        return profile
    if other.peak > profile.peak:
        raise refused("a number drawn at random")
    said = "numbers drawn at random decide what a step does, such as which layers it drops; taken as if none is"
    return replace(profile, assumptions=(*profile.assumptions, said))


def _same(one: MemoryProfile, other: MemoryProfile) -> bool:
    return (one.peak, one.by_category, one.timeline) == (other.peak, other.by_category, other.timeline)
