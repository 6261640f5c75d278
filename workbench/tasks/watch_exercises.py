"""Which shoulder exercise does a smart watch feel? Windows of six channels, held out by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Batch, Sizes, TaskData, register
from workbench.tasks.classification import MASK, Classification
from workbench.tasks.content import check_labels, fingerprint, size_of
from workbench.tasks.image import synthetic_signal

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.models.base import ModelSpec

EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
TRAINED = (1, 2, 3, 4, 5)  # subjects 6 to 10 are held out


def read_windows(folder: Path, samples: int) -> dict[bool, list[tuple[Any, int, int]]]:
    """Half-overlapping windows (channels, samples) with label and subject, keyed by "is of a training subject"."""
    import numpy as np

    with np.load(folder / "recordings.npz", allow_pickle=False) as data:
        values, lengths, labels, subjects = (data[k] for k in ("samples", "lengths", "label", "subject"))
    if int(lengths.sum()) != len(values):
        raise BadInput("data", "watch-exercises", "as many samples as the recordings say; the file is truncated")
    found: dict[bool, list[tuple[Any, int, int]]] = {True: [], False: []}
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    for start, length, label, subject in zip(starts, lengths, labels, subjects):
        for at in range(start, start + length - samples + 1, samples // 2):
            found[int(subject) in TRAINED].append((values[at : at + samples].T, int(label), int(subject)))
    return found


@register
class WatchExercises(Classification):
    name = "watch-exercises"
    title = "Smart-watch exercises"
    doc = "Which of seven shoulder exercises is done? Accelerometer and gyroscope windows; tested on unseen people."
    kinds = ("sensor-classifier",)
    labels = EXERCISES
    assets = ("watch",)
    default_model = "tiny-sensor"
    default_batch = 32

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        from workbench.assets import locate

        self.check(model)
        samples = self._samples(model, sizes.length)
        found, parts = read_windows(locate("watch"), samples), []
        people: tuple[int, ...] = ()
        stacked = np.stack([x for x, *_ in found[True]]) if found[True] else np.zeros((0, 6, 1), np.float32)
        if not len(stacked) or not found[False]:
            raise BadInput(f"{self.name}.length", samples, "windows no longer than the recordings")
        mean, deviation = stacked.mean((0, 2))[:, None], stacked.std((0, 2))[:, None]
        for trained, asked in ((True, sizes.train), (False, sizes.test)):
            part = "train" if trained else "test"
            count = size_of(self.name, part, asked, len(found[trained]), len(found[trained]))
            order = np.random.default_rng(derive(seed, "split", self.name, part)).permutation(len(found[trained]))
            taken = [found[trained][i] for i in order[:count]]
            parts.append([{"values": ((x - mean) / deviation).astype(np.float32), "labels": y} for x, y, _ in taken])
            people = tuple(who for *_, who in taken) if trained else people
        check_labels(self.name, (e["labels"] for e in parts[0]), "training")
        check_labels(self.name, (e["labels"] for e in parts[1]), "test", single=True)
        described = f"by person: subjects 1-5 train ({len(parts[0])} windows), 6-10 test ({len(parts[1])})"
        notes = ("each channel is scaled by the training subjects' mean and deviation",)
        return TaskData(
            parts[0], parts[1], len(EXERCISES), EXERCISES, fingerprint(*parts), MASK, described, seed, notes, people
        )

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import numpy as np
        import torch

        values = torch.from_numpy(np.stack([example["values"] for example in examples]))
        labels = torch.tensor([example["labels"] for example in examples], dtype=torch.int64)
        return {"pixel_values": values, "labels": labels}

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        return synthetic_signal((batch, model.shape[0], self._samples(model, length)), len(EXERCISES))

    def _samples(self, model: ModelSpec, asked: int | None) -> int:
        value = model.shape[1] if asked is None else asked
        if isinstance(value, bool) or not isinstance(value, int) or not 8 <= value <= 2000:
            raise BadInput(f"{self.name}.length", asked, "8 to 2000 samples per window")
        return value
