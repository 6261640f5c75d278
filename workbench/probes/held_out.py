"""What tuning on one task does to another: how well the model still serves data that it was not tuned on.

A language model is scored on the other task as it is. Of an encoder, whose head belongs to its own task, the features
are asked: a linear classifier is fitted to them on the other task's training examples and scored on its test examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.core.alone import alone
from workbench.core.errors import Incompatible
from workbench.keys import Kind
from workbench.tasks.base import Sizes, tasks

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from workbench.case import Case
    from workbench.models.base import ModelSpec
    from workbench.tasks.base import Metrics, Task

#: Examples that are enough to tell models apart; a score of theirs is taken after every run.
SIZES = {"classification": Sizes(train=400, test=400, length=64), "generation": Sizes(train=1, test=32, length=64)}


def check(task_name: str, case: Case) -> None:
    """Raise where the model of ``case`` cannot be asked about the task, or was tuned on it."""
    tasks.get(task_name)().check(case.spec)
    if task_name == case.task_name:
        raise Incompatible("held_out", task_name, "it is the task that the model is tuned on")


@alone()
def held_out(case: Case, model: nn.Module, task_name: str) -> dict[str, Any]:
    """Score of a tuned model on another task, with that of the untuned one as ``before``, kept once it is known."""
    from workbench.predictions import kept

    check(task_name, case)
    base = replace(case, method_name="full", settings={})
    kind = Kind(f"held out {task_name}", ("probes",))
    before = kept(base, kind, lambda: _plain(scored(base.attached(), case.spec, task_name)))
    return {"task": task_name, **_plain(scored(model, case.spec, task_name)), "before": before["value"]}


def scored(model: nn.Module, spec: ModelSpec, task_name: str) -> Metrics:
    """Score of the model on the task's test examples; the same examples every time."""
    task: Task = tasks.get(task_name)()
    sizes = SIZES[task.objective]
    data = task.load(spec, sizes if spec.modality == "text" else replace(sizes, length=None), 0)
    if task.objective == "generation":
        return task.score(model, data, spec, batch=8)
    return _linear_probe(model, spec, task, data)


def _linear_probe(model: nn.Module, spec: ModelSpec, task: Task, data: Any) -> Metrics:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from workbench.tasks.base import Metrics

    parts = [
        (_features(model, spec, task, part), np.array([e["labels"] for e in part])) for part in (data.train, data.test)
    ]
    (x, labels), (unseen, truth) = parts
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x, labels)
    return Metrics("accuracy of a linear probe", float((probe.predict(unseen) == truth).mean()), len(truth))


def _features(model: nn.Module, spec: ModelSpec, task: Task, examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """What reaches the model's head, (examples, width)."""
    import numpy as np

    from workbench.models.structure import head
    from workbench.tasks.classification import evaluating

    output = head(model)
    if output is None:
        raise Incompatible("held_out", task.name, f"{spec.name} has no recognisable head whose input could be asked")
    found: list[np.ndarray] = []
    handle = output[1].register_forward_pre_hook(lambda _, given: found.append(given[0].float().numpy()))
    try:
        with evaluating(model):
            for start in range(0, len(examples), 32):
                batch = task.collate(examples[start : start + 32], spec)
                model(**{name: value for name, value in batch.items() if name != "labels"})
    finally:
        handle.remove()
    return np.concatenate(found)


def _plain(metrics: Metrics) -> dict[str, Any]:
    return {
        "name": metrics.name,
        "value": metrics.value,
        "count": metrics.count,
        "lower_is_better": metrics.lower_is_better,
    }
