"""Whether a step that was stopped had changed something already.

torch counts the writes into a tensor, but not those of its fused AdamW or of libraries that go through ``.data``; a
step that says how many ``updated`` parameters it has is believed as well.
"""

from __future__ import annotations

from torch import Tensor

from workbench.memory.step import Step


class Unchanged:
    """Remembers how often each tensor of a step's model was written, and says what has been written since."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._written = {id(t): t._version for t in _tensors(step)}

    def note(self) -> str:
        """What was changed since, in words; empty where nothing was."""
        trained = [p for p in self._step.model.parameters() if p.requires_grad]
        weights = sum(p._version != self._written.get(id(p)) for p in trained)
        weights = max(weights, getattr(self._step, "updated", 0))
        statistics = sum(b._version != self._written.get(id(b)) for b in self._step.model.buffers())
        said = [f"{weights} of {len(trained)} trained tensors had been updated"] if weights else []
        said += [f"{statistics} buffers, such as running statistics, had moved"] if statistics else []
        if not said:
            return ""
        return f"{' and '.join(said)} before the step was refused, and they stay so"


def _tensors(step: Step) -> list[Tensor]:
    return [*step.model.parameters(), *step.model.buffers()]
