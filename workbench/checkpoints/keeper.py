"""Checkpoints of one run: when they are taken, which is the last good one, what becomes of the others."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from workbench.core.errors import ResourceMissing
from workbench.core.profile import MemoryProfile
from workbench.core.stopping import Stopped
from workbench.core.units import format_size
from workbench.records.schema import StepRecord
from workbench.records.sealed import Damaged, clear_orphans, remove, sealing, set_aside, unsealed

if TYPE_CHECKING:
    from workbench.session import Session

KEPT = 2  #: newest checkpoints that stay; the second is what a damaged newest one falls back to
SPARE = 1.2  #: free disk asked for, as a multiple of what a checkpoint should take
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass
class Checkpoints:
    """Checkpoints of the run with this content ``key``, in ``folder``; one is taken every ``every`` steps.

    Only the run itself writes there, which an operating-system lock sees to: a second process that trains the same
    run keeps none. ``notes`` are sentences on what happened, ``resumed`` is the number of steps that were there
    already. Without a folder nothing is kept; with ``every`` 0 none is taken but by a run that is cancelled or that
    could not be scored.
    """

    folder: Path | None = None
    key: str = ""
    every: int = 0
    notes: list[str] = field(default_factory=list)
    resumed: int = 0
    _steps: list[StepRecord] = field(init=False, default_factory=list)
    _saved: int = field(init=False, default=0)
    _since: dict[str, str] = field(init=False, default_factory=dict)
    _lock: FileLock | None = field(init=False, default=None)

    @contextmanager
    def of(self, session: Session) -> Iterator[tuple[StepRecord, ...]]:
        """Put the last good state into a prepared session and give the steps behind it; none when there is none.

        A damaged state is set aside and said; the one before it is used. When the context is left by a cancelled
        session, its state is kept: that of its last whole step, when it gave one up.
        """
        if self.folder is None:
            with suppress(Stopped):
                yield ()
            return
        try:
            with suppress(Stopped):
                yield self._begin(session, self.folder)
            if session.cancel.is_set():
                self.save(session)
        finally:
            self._released()

    def _begin(self, session: Session, folder: Path) -> tuple[StepRecord, ...]:
        from workbench.checkpoints import content

        session.training.journal = content.journal_for(session.training)
        self._steps, self._saved, self.resumed = [], 0, 0
        if not self._locked(folder):
            self.notes.append("another process trains this same run; no checkpoint is kept by this one")
            return ()
        clear_orphans(folder)
        self._since = content.marks(session.model)
        for kept in reversed(_sealed(folder)):
            facts = self._verified(kept)
            if facts is None or facts["key"] != self.key or facts["data"] != session.data.hash:
                continue
            state = content.read(kept, session.training)
            self._steps = [StepRecord(**step) for step in state["steps"]]
            session.measured = MemoryProfile.from_dict(state["measured"]) if state["measured"] else None
            self._saved = self.resumed = len(self._steps)
            self.notes.append(f"resumed after step {self.resumed}")
            self._check_threads(facts["threads"])
            break
        return tuple(self._steps)

    def after(self, step: StepRecord, session: Session) -> None:
        """Take note of a step; every so many of them the state goes to disk."""
        self._steps.append(step)
        if self.every and len(self._steps) % self.every == 0:
            self.save(session)

    def save(self, session: Session) -> None:
        """Keep the present state, unless it is kept already or holds numbers that are not finite.

        Raises ``ResourceMissing`` when the disk has no room; what was kept before is as it was.
        """
        from workbench.checkpoints import content

        count, training = len(self._steps), session.training
        if self.folder is None or self._lock is None or count == self._saved or not content.finite(training):
            return
        facts = {"key": self.key, "data": session.data.hash, "step": count, **_circumstances()}
        measured = session.measured.to_dict() if session.measured else None
        state = {"steps": [asdict(step) for step in self._steps], "measured": measured}
        try:
            _require(self.folder, content.size(training))
            with sealing(self.folder, f"step-{count:08}", facts) as aside:
                content.write(aside, training, self._since, state)
        except (OSError, SafetensorError) as error:
            raise _no_room(error, count, self._saved) from None
        self._saved = count
        for old in _sealed(self.folder)[:-KEPT]:
            remove(old)

    def keep(self, session: Session) -> None:
        """Keep the state of a session that is over but has no result yet."""
        if self.folder is None or not self._locked(self.folder):
            return
        try:
            self.save(session)
        finally:
            self._released()

    def discard(self) -> None:
        """Forget the run's checkpoints: its result is in the store."""
        if self.folder is None or not self.folder.is_dir() or not self._locked(self.folder):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.lock").unlink(missing_ok=True)
        self._released()

    def _locked(self, folder: Path) -> bool:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(f"{folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._lock = lock
        return True

    def _released(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _verified(self, kept: Path) -> dict[str, Any] | None:
        try:
            return unsealed(kept)
        except Damaged as error:
            aside = set_aside(kept)
            self.notes.append(
                f"the checkpoint of step {int(kept.name.split('-')[1])} is damaged ({error}) and was set aside as "
                f"{aside.name}; the last good one before it is used"
            )
            return None

    def _check_threads(self, before: int) -> None:
        now = _circumstances()["threads"]
        if before != now:
            self.notes.append(f"resumed with {now} threads instead of {before}: the result may differ in its last bits")


def _sealed(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(f for f in folder.glob("step-*") if f.name.removeprefix("step-").isdecimal())


def _require(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPARE * size:
        wanted = format_size(int(SPARE * size))
        raise OSError(errno.ENOSPC, f"{format_size(free)} free where about {wanted} are needed")


def _no_room(error: Exception, count: int, saved: int) -> Exception:
    """What to raise for an error while writing: a full disk is foreseen, anything else is as it was."""
    why = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) not in _FULL and "os error 28" not in why and "os error 27" not in why:
        return error
    kept = f"that of step {saved} is intact" if saved else "there was none before"
    return ResourceMissing(f"no room for the checkpoint of step {count} ({why}); {kept}; free some disk and run again")


def _circumstances() -> dict[str, Any]:
    """What the same bits are promised for."""
    import torch

    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "cores": os.cpu_count()}
