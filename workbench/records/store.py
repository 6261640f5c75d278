"""The run store: SQLAlchemy on SQLite or PostgreSQL, the one truth about what has been run. Never imports torch.

On SQLite every run is committed to two files, the second a copy: WAL with synchronous FULL loses nothing that was
acknowledged when a process or the machine dies, and the copy is there for bytes that change on the disk. What one of
them cannot answer for is read from the other; what neither can is named and hides nothing else. A server keeps its
own copies, so there is none beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from workbench.core import paths
from workbench.core.collection import uncollected
from workbench.core.errors import ResourceMissing, UnknownName
from workbench.records.aside import put_aside
from workbench.records.database import Unreadable
from workbench.records.schema import FINISHED, RunRecord
from workbench.records.shelf import Kept, Shelf
from workbench.records.tables import Line, record_of, rows_of

__all__ = ["Health", "Line", "RunStore"]


@dataclass(frozen=True)
class Health:
    """What a thorough look found: ``damaged`` are ids of runs that cannot be read from any copy, ``complaints`` what is
    wrong with which file, though every other run is there."""

    runs: int
    damaged: tuple[str, ...]
    complaints: tuple[str, ...]


class RunStore:
    """Open (and make, when absent) the store in ``folder``, or in the database at ``url``.

    Without either it is the database of ``PINTPOT_STORE``, if that is set, or the folder of runs.
    """

    def __init__(self, folder: Path | None = None, url: str | None = None) -> None:
        self.folder = folder or paths.runs()
        self.file = self.folder / "runs.sqlite"
        self.url = url or ("" if folder else paths.store()) or f"sqlite:///{self.file}"
        self._main = Shelf(self.url)
        on_files = self.url == f"sqlite:///{self.file}"
        self._copy = Shelf(f"sqlite:///{self.folder / 'runs-copy.sqlite'}") if on_files else None
        self._alike = False
        self.notice = ""  #: what the last listing had to leave out, or where it had to look

    def __reduce__(self) -> tuple[Any, ...]:
        """Open connections stay where they are; another process opens its own."""
        return RunStore, (self.folder, self.url)

    @property
    def queue(self) -> str:
        """URL of the database from which workers take what is still to be run: the server's own, or a file beside."""
        return self.url if self._copy is None else f"sqlite:///{self.folder / 'sweeps.sqlite'}"

    def _shelves(self) -> list[Shelf]:
        """All that a run is written to."""
        return [self._main] if self._copy is None else [self._main, self._copy]

    def _there(self) -> list[Shelf]:
        """Those that somebody has written to already; looking must not make one."""
        return [s for s in self._shelves() if self._copy is None or Path(s.url.removeprefix("sqlite:///")).exists()]

    # -- writing -------------------------------------------------------------------------------------

    def put(self, key: str, record: RunRecord) -> bool:
        """Keep a run; committed to disk on return. False when a finished run of this content key is there already:
        the first one stands, so that a cell that was run twice counts once. An unfinished one is replaced.

        Raises ``ResourceMissing`` when the disk is full; what was stored before is intact.
        """
        line, body = rows_of(key, record)
        self._make_alike()
        damaged = self._damaged_of(key)
        kept = False
        for shelf in self._shelves():
            try:
                if not shelf.put(line, body, damaged):
                    return kept  # another's stands; it must stand in both
                kept = True
            except Unreadable:
                continue  # the other one holds it; `doctor` says what is wrong
        if not kept:
            raise ResourceMissing("the run store is damaged and so is its copy; run: pintpot doctor")
        return True

    def _damaged_of(self, key: str) -> str:
        """The id of a finished run of this key that nothing can read any more, which a new one may replace."""
        line = self._line_of(key)
        return line.id if line is not None and self._read(line) is None else ""

    def delete(self, run: str) -> None:
        found = self._found(run)
        # The copy first: what only the copy had would be put back where it is missing.
        for shelf in reversed(self._shelves()):
            try:
                shelf.delete(found.id)
            except Unreadable:
                continue

    def _make_alike(self) -> None:
        """Once per process: what a kill between the two commits, or damage, left in one file only goes to both."""
        if self._alike or self._copy is None:
            return
        self._alike = True
        try:
            if self._main.total() != self._copy.total():
                self._exchange(self._main, self._copy)
                self._exchange(self._copy, self._main)
        except Unreadable:
            return

    @staticmethod
    def _exchange(source: Shelf, target: Shelf) -> None:
        there = dict(target.states())
        for line in reversed(source.lines()):
            wanted = line.sound and (line.key not in there or (line.finished and there[line.key] not in FINISHED))
            body = source.body(line.id) if wanted else None
            if body is not None and record_of(body, line.values[-1]) is not None:
                with suppress(IntegrityError):  # it is there under its id, though damage hid it
                    target.put(line.row(), {"id": line.id, "record": body})

    # -- reading -------------------------------------------------------------------------------------

    def finished(self, key: str) -> RunRecord | None:
        """The completed run with this content key, if there is one: an unchanged cell costs nothing."""
        line = self._line_of(key)
        return self._read(line) if line is not None and line.finished else None

    def of_key(self, key: str) -> RunRecord | None:
        """The run with this content key in whatever state, if there is one."""
        line = self._line_of(key)
        return None if line is None else self._read(line)

    def finished_keys(self) -> set[str]:
        """Content keys of every completed run, by one scan of the lines."""
        with uncollected():
            return {line.key for line in self._lines() if line.sound and line.finished}

    def lines(self, limit: int | None = None) -> list[Line]:
        """Newest first; reads no record bodies. A line that no file can vouch for is left out; `doctor` counts it."""
        with uncollected():
            return [kept.line for kept in self._lines(limit) if kept.sound]

    def get(self, run: str) -> RunRecord:
        """One record by id or unambiguous beginning of it; raises ``UnknownName``."""
        record = self._read(self._found(run))
        if record is None:
            raise UnknownName("run", run, [line.id for line in self.lines(50)])
        return record

    def records(self) -> Iterator[RunRecord]:
        """Every readable record, newest first."""
        for line in self._lines():
            record = self._read(line) if line.sound else None
            if record is not None:
                yield record

    def damaged(self) -> list[str]:
        """Ids of runs whose stored bytes no longer are what was stored, in any copy."""
        return [line.id for line in self._lines() if not line.sound or self._read(line) is None]

    def health(self) -> Health:
        """A thorough look at every byte; takes as long as reading the whole store."""
        shelves = self._there()
        complaints = [f"{_name(s)}: {words}" for s in shelves if (words := s.complaint())]
        if shelves and len(complaints) == len(shelves):
            return Health(0, (), tuple(complaints))
        lines = self._lines()
        for shelf in shelves:
            try:
                here = {line.id for line in shelf.lines() if line.sound and _sound_body(shelf, line)}
                missing = len({line.id for line in lines if line.sound} - here)
                complaints += [f"{_name(shelf)}: {missing} runs are missing or damaged in it"] if missing else []
            except Unreadable:
                continue
        return Health(len(lines), tuple(self.damaged()), tuple(dict.fromkeys(complaints)))

    def mend(self) -> list[str]:
        """Make a damaged file anew from everything that can be read, and keep the old one aside; what was done, and
        which runs are lost. Nothing else may have the store open meanwhile.
        """
        if self._copy is None or not self._there():
            return []
        try:
            lines = self._lines()
        except ResourceMissing:  # no file can be read: all there is to do is to begin anew
            lines = []
        readable = [(line, self._body(line) if line.sound else None) for line in reversed(lines)]
        lost = [line.id for line, body in readable if body is None]
        done = []
        for shelf in self._shelves():
            if not any(_name(shelf) in complaint for complaint in self.health().complaints):
                continue
            aside = _put_aside(shelf)
            for line, body in readable:
                if body is not None:
                    shelf.put(line.row(), {"id": line.id, "record": body})
            done.append(f"{_name(shelf)} was made anew; the damaged one is kept as {aside}")
        if done and lost:
            done.append(f"{len(lost)} runs could be read in neither file and are no longer listed: {', '.join(lost)}")
        return [*done, *([] if readable or not done else ["no run could be read; the store begins empty"])]

    def _found(self, run: str) -> Kept:
        lines = self._first_answer(lambda shelf: shelf.beginning(run))
        sound = {line.id: line for line in lines if line.sound}
        if len(sound) != 1:
            raise UnknownName("run", run, [line.id for line in self.lines(50)])
        return next(iter(sound.values()))

    def _line_of(self, key: str) -> Kept | None:
        found = self._first_answer(lambda shelf: [line] if (line := shelf.of_key(key)) else [])
        return next((line for line in found if line.sound), None)

    def _first_answer(self, ask: Callable[[Shelf], list[Kept]]) -> list[Kept]:
        """The first shelf's answer that is sound; an empty or damaged one is asked of the copy too."""
        found: list[Kept] = []
        for answer in self._answers(ask):
            found = answer
            if found and all(line.sound for line in found):
                break
        return found

    def _answers(self, ask: Callable[[Shelf], list[Kept]]) -> Iterator[list[Kept]]:
        """Of every file that can be read; raises ``ResourceMissing`` when that is none of them."""
        complaints = []
        shelves = self._there()
        for shelf in shelves:
            try:
                answer = ask(shelf)
            except Unreadable as error:
                complaints.append(str(error))
                continue
            yield answer
        if complaints and len(complaints) == len(shelves):
            raise ResourceMissing(f"the run store cannot be read: {complaints[0]}; run: pintpot doctor")

    def _lines(self, limit: int | None = None) -> list[Kept]:
        """Newest first: the main file's, if it holds what its copy holds; else of each run what is sound in either."""
        there = self._there()
        if not there:
            return []
        try:
            lines = there[0].lines(limit)
            whole = (len(lines), sum(line.checksum for line in lines)) if limit is None else None
            if len(there) == 1:
                return lines
            if there[1].total() == (whole or there[0].total()) and all(line.sound for line in lines):
                return lines
        except Unreadable as error:
            self.notice = f"a file of the run store is damaged ({error}); this comes from its copy; see: pintpot doctor"
        lines = self._joined()
        hidden = sum(not line.sound for line in lines)
        if hidden:
            self.notice = f"{hidden} runs can no longer be read and are not shown; see: pintpot doctor"
        return lines[:limit]

    def _joined(self) -> list[Kept]:
        """Of each run the better line of the two files; an id that is damaged in both stays, to be named."""
        best: dict[str, Kept] = {}
        for lines in self._answers(Shelf.lines):
            for line in lines:
                known = best.get(line.key)
                if known is None or (line.sound, line.finished) > (known.sound, known.finished):
                    best[line.key] = line
        ids = {line.id for line in best.values() if line.sound}
        chosen = [line for line in best.values() if line.sound or line.id not in ids]
        return sorted(chosen, key=lambda line: -line.sequence)

    def _read(self, line: Kept) -> RunRecord | None:
        for shelf in self._there():
            try:
                body = shelf.body(line.id)
            except Unreadable:
                continue
            record = record_of(body, line.values[-1]) if body is not None else None
            if record is not None:
                return record
        return None

    def _body(self, line: Kept) -> bytes | None:
        for shelf in self._there():
            try:
                if _sound_body(shelf, line):
                    return shelf.body(line.id)
            except Unreadable:
                continue
        return None


def _sound_body(shelf: Shelf, line: Kept) -> bool:
    body = shelf.body(line.id)
    return body is not None and record_of(body, line.values[-1]) is not None


def _name(shelf: Shelf) -> str:
    return shelf.url.rpartition("/")[2] if shelf.url.startswith("sqlite") else "the server"


def _put_aside(shelf: Shelf) -> str:
    shelf.close()
    return put_aside(Path(shelf.url.removeprefix("sqlite:///")))
