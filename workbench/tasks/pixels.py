"""Synthetic pictures and sensor windows of any shape, for questions of cost only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Batch, Sizes, TaskData, register
from workbench.tasks.classification import MASK, Classification
from workbench.tasks.content import fingerprint
from workbench.tasks.image import side_of, synthetic_signal

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec

CLASSES = 10


@register
class Pixels(Classification):
    name = "pixels"
    title = "Synthetic pictures or sensor windows"
    doc = "Random pictures (or sensor windows) of any size: what a step costs, never how well a model learns."
    kinds = ("image-classifier", "sensor-classifier")
    default_model = "efficientnet-lite0"

    def classes(self, model: ModelSpec) -> int | None:
        return CLASSES

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        self.check(model)
        shape = self._shape(model, sizes.length)
        rng = np.random.default_rng(derive(seed, self.name))
        parts = [
            [{"values": rng.standard_normal(shape, dtype=np.float32), "labels": i % CLASSES} for i in range(count)]
            for count in (sizes.train or 64, sizes.test or 16)
        ]
        notes = ("synthetic data: scores on it mean nothing",)
        labels = tuple(str(i) for i in range(CLASSES))
        return TaskData(
            parts[0], parts[1], CLASSES, labels, fingerprint(*parts), MASK, "synthetic random values", seed, notes
        )

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import numpy as np
        import torch

        values = torch.from_numpy(np.stack([example["values"] for example in examples]))
        return {"pixel_values": values, "labels": torch.tensor([e["labels"] for e in examples], dtype=torch.int64)}

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        return synthetic_signal((batch, *self._shape(model, length)), CLASSES)

    def _shape(self, model: ModelSpec, length: int | None) -> tuple[int, ...]:
        if model.modality == "image":
            side = side_of(self.name, length, model)
            return (model.shape[0], side, side)
        samples = model.shape[1] if length is None else length
        if not 8 <= samples <= 100_000:
            raise BadInput(f"{self.name}.length", length, "8 to 100000 samples")
        return (model.shape[0], samples)
