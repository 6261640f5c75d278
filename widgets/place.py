"""Which panel took the place of which: what a cell began is cancelled when the cell runs again."""

from __future__ import annotations

import weakref

from widgets.run_queue import cell_under_way


class Placed:
    """A panel that begins runs and knows the cell that made it. Without cells, the same request is the same place."""

    def cancel(self) -> None:
        """Stop what this panel began; every panel says how."""
        raise NotImplementedError

    def take_place(self, asked: object) -> None:
        """Cancel what stood here before; ``asked`` is what the panel was asked to run."""
        # By name, because every widget with traits of its own is of a class of its own.
        self._place, self._wanted = cell_under_way(), (type(self).__name__, asked)
        for other in list(_PANELS):
            if self._replaces(other):
                other.cancel()
        _PANELS.add(self)

    def _replaces(self, other: Placed) -> bool:
        if self._place is not None and other._place is not None:
            return self._place[0] == other._place[0] and self._place != other._place
        return self._place is None and other._place is None and self._wanted == other._wanted


_PANELS: weakref.WeakSet[Placed] = weakref.WeakSet()
