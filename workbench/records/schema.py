"""What a run leaves behind: plain frozen data, complete enough to draw every figure without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from html import escape
from typing import Any

from workbench.core.profile import MemoryProfile
from workbench.core.units import format_size

#: Of what a record holds; a field that an older one lacks has its default. 2: ``accumulate``, which older records do
#: not tell, so that theirs read as 1.
SCHEMA_VERSION = 2


class State(StrEnum):
    """How a run ended. Everything but ``DONE`` is kept and shown, never dropped."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    OVER_BUDGET = "over budget"
    OUT_OF_MEMORY = "out of memory"  #: the machine had less memory than the budget allowed
    DIVERGED = "diverged"
    FAILED = "failed"
    PREDICTED = "predicted"  #: nobody asked to run it: the record holds a prediction and no more
    REFUSED = "refused"  #: not started: the prediction did not fit, or the method does not apply


#: States whose result stands: the same cell is not run again.
FINISHED = (State.DONE, State.REFUSED)


ALL_LAYERS = "all layers"  #: what stands in the place of a layer's name for all of them together


@dataclass(frozen=True)
class StepRecord:
    """One training step. ``peak`` is bytes.

    When recorded, ``layer_norms`` is the gradient norm of each layer and ``layer_updates`` the norm of its update over
    the norm of its trained weights, both taken over evenly spaced samples of each tensor. ``held`` is what was live
    before the step, bytes by category; empty where that is as in the step before, or not known. ``layer_cosines`` are
    cosines of the estimate to the true gradient by layer and for ``ALL_LAYERS``, where the gradient is an estimate and
    they were asked for.
    """

    step: int
    loss: float
    seconds: float
    peak: int | None = None
    lr: float = 0.0
    layer_norms: Mapping[str, float] = field(default_factory=dict)
    layer_updates: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    layer_cosines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """A number with its kind, so that simulated, fitted, assumed and measured never blur."""

    value: float | None
    kind: str  #: measured | predicted | extrapolated | datasheet | assumed | fitted
    note: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run of one method with one seed. Sizes are bytes, times seconds, energy joules.

    ``batch`` is examples of a micro-batch, of which a step takes ``accumulate``.
    ``score`` holds ``name``, ``value``, ``count``, ``lower_is_better``, ``share`` and ``details`` of the final
    evaluation; ``score_before`` the same before tuning. ``data`` holds hash, split, mask id and sizes. ``arena``
    holds size, largest live set (bytes), planned steps and misses of a run whose steps were served from one.
    ``notes`` are sentences on how the run came about: where it was resumed, which checkpoint was damaged.
    ``ways`` are changes that would have kept the budget, cheapest first, each verified by a prediction; ``None``
    where none were looked for. ``note`` says what else became of that search.
    ``layers`` are the layers that hold weights, frozen ones too.
    ``choices`` say, for a method that chooses anew what trains, what it chose from which epoch on. ``held_out`` is a
    score like ``score`` on another ``task``, with the untuned model's value as ``before``.
    """

    id: str
    task: str
    model: str
    method: str
    seed: int
    state: State
    config: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    reason: str = ""
    ways: tuple[str, ...] | None = None
    note: str = ""
    device: str = ""
    budget: int | None = None
    batch: int = 0
    accumulate: int = 1
    length: int | None = None
    profile: str = ""
    planned_steps: int = 0
    steps: tuple[StepRecord, ...] = ()
    predicted: MemoryProfile | None = None
    measured: MemoryProfile | None = None
    step_time: Quantity | None = None
    device_step_time: Quantity | None = None
    device_step_energy: Quantity | None = None
    trainable: int = 0
    parameters: int = 0
    layers: tuple[str, ...] = ()
    adapter_bytes: int | None = None
    score: Mapping[str, Any] = field(default_factory=dict)
    score_before: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    arena: Mapping[str, int] = field(default_factory=dict)
    choices: tuple[Mapping[str, Any], ...] = ()
    held_out: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA_VERSION

    @property
    def examples(self) -> int:
        """Training examples of one step."""
        return self.batch * self.accumulate

    @property
    def accuracy(self) -> float | None:
        return self.score.get("value") if self.state in (State.DONE, State.CANCELLED) else None

    @property
    def peak_error(self) -> float | None:
        """(predicted - measured) / measured, or None when one is absent."""
        if self.predicted is None or self.measured is None or not self.measured.peak:
            return None
        return (self.predicted.peak - self.measured.peak) / self.measured.peak

    @property
    def steps_peak(self) -> int | None:
        """The highest peak of the steps taken. ``measured`` may be above it: it is of the dearest step that the method
        may choose."""
        return max((step.peak for step in self.steps if step.peak is not None), default=None)

    @property
    def sentence(self) -> str:
        """How the run ended, in one sentence."""
        done = f"{len(self.steps)} of {self.planned_steps} steps" if self.planned_steps else "no step"
        text = f"{self.method} on {self.model}, seed {self.seed}: {self.state.value} after {done}"
        if self.accuracy is not None:
            text += f", {self.score.get('name', 'score')} {self.accuracy:.4g}"
        return " ".join(part for part in (f"{text}.", _ended(self.reason), self.ways_sentence) if part)

    @property
    def ways_sentence(self) -> str:
        """The ways out of a budget in one sentence; empty where none were looked for."""
        said = [f"Cheapest ways out: {'; '.join(self.ways)}."] if self.ways else []
        return " ".join([*said, _ended(self.note[:1].upper() + self.note[1:])]).strip()

    def _repr_html_(self) -> str:
        """What a notebook shows of a run: its end as a state with the reason, then what was predicted and measured."""
        peaks = (
            ("budget", self.budget),
            ("predicted peak", self.predicted.peak if self.predicted else None),
            ("measured peak", self.measured.peak if self.measured else None),
            ("highest peak of a step", self.steps_peak),
        )
        cells = "".join(
            f"<tr><th scope='row'>{name}</th><td>{format_size(size)}</td></tr>"
            for name, size in peaks
            if size is not None
        )
        role = "" if self.state is State.DONE else " role='alert'"
        return f"<p{role}>{escape(self.sentence)}</p><table>{cells}</table>"

    def to_dict(self) -> dict[str, Any]:
        data = asdict(replace(self, predicted=None, measured=None)) | {"steps_peak": self.steps_peak}
        data["predicted"] = self.predicted.to_dict() if self.predicted else None
        data["measured"] = self.measured.to_dict() if self.measured else None
        return data

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> RunRecord:
        data = {name: value for name, value in raw.items() if name != "steps_peak"}  # said for readers of the JSON
        data["state"] = State(data["state"])
        data["steps"] = tuple(StepRecord(**s) for s in data["steps"])
        data["notes"] = tuple(data.get("notes", ()))
        data["layers"] = tuple(data.get("layers", ()))
        data["ways"] = None if data.get("ways") is None else tuple(data["ways"])
        data["choices"] = tuple(data.get("choices", ()))
        for name in ("predicted", "measured"):
            data[name] = MemoryProfile.from_dict(data[name]) if data[name] else None
        for name in ("step_time", "device_step_time", "device_step_energy"):
            data[name] = Quantity(**data[name]) if data[name] else None
        return cls(**data)


def _ended(text: str) -> str:
    """A sentence with its full stop."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
