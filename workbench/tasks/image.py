"""Image classification: bytes are kept small and become float pictures of the model's shape in the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.errors import BadInput
from workbench.tasks.base import Batch, Sizes, TaskData
from workbench.tasks.classification import MASK, Classification
from workbench.tasks.content import check_labels, fingerprint
from workbench.tasks.text import check_batch

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec

MEAN, DEVIATION = 0.498, 0.502


def side_of(task: str, asked: int | None, model: ModelSpec) -> int:
    """Pixels per side: what was asked for, else the model's own; a multiple of the patch size where there is one."""
    patch = int(model.config.get("patch_size", 1))
    value = model.shape[-1] if asked is None else asked
    strides = (model.config.get("stem_stride", 1), *(stage[2] for stage in model.config.get("stages", ())))
    smallest = max(8, patch, math.prod(strides))  # below that a strided kernel no longer fits
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= 1024 or value % patch:
        multiple = f", a multiple of {patch}" if patch > 1 else ""
        raise BadInput(f"{task}.length", asked, f"a side of {smallest} to 1024 pixels{multiple}")
    if model.config.get("model_type") == "vit" and value != model.shape[-1]:
        raise BadInput(f"{task}.length", asked, f"{model.shape[-1]} pixels, the only side {model.name} takes")
    return value


class ImageClassification(Classification):
    """Base of image tasks. ``length`` of the sizes is the side of the picture in pixels."""

    kinds = ("image-classifier",)
    labels: ClassVar[tuple[str, ...]]
    largest: ClassVar[int]  #: value of the brightest pixel

    def prepare(
        self, model: ModelSpec, train: Sequence[tuple[Any, int]], test: Sequence[tuple[Any, int]], sizes: Sizes,
        *, split: str, seed: int,
    ) -> TaskData:  # fmt: skip
        """Checked and hashed data from (grey picture as a uint8 array, label) pairs."""
        side = side_of(self.name, sizes.length, model)
        check_labels(self.name, (label for _, label in train), "training")
        check_labels(self.name, (label for _, label in test), "test", single=True)
        parts = [[{"image": x, "side": side, "labels": int(y)} for x, y in rows] for rows in (train, test)]
        notes = (f"grey pictures are resized to {side} pixels (bilinear) and repeated over {model.shape[0]} channels",)
        return TaskData(
            parts[0], parts[1], len(self.labels), self.labels, fingerprint(*parts), MASK, split, seed, notes
        )

    def collate(self, examples: Sequence[Mapping[str, Any]], model: ModelSpec) -> Batch:
        import numpy as np
        import torch
        from torch.nn.functional import interpolate

        side = examples[0]["side"]
        grey = torch.from_numpy(np.stack([example["image"] for example in examples]))[:, None].float() / self.largest
        if grey.shape[-1] != side:
            grey = interpolate(grey, size=(side, side), mode="bilinear", align_corners=False)
        pixels = ((grey - MEAN) / DEVIATION).expand(-1, model.shape[0], -1, -1).contiguous()
        labels = torch.tensor([example["labels"] for example in examples], dtype=torch.int64)
        return {"pixel_values": pixels, "labels": labels}

    def example_batch(self, model: ModelSpec, batch: int, length: int | None = None) -> Batch:
        side = side_of(self.name, length, model)
        return synthetic_signal((batch, model.shape[0], side, side), len(self.labels))


def synthetic_signal(shape: tuple[int, ...], classes: int) -> Batch:
    """A float32 batch of ``shape`` with labels; values are a fixed ramp, no random numbers are used."""
    import torch

    check_batch(shape[0])
    count = 1
    for extent in shape:
        count *= extent
    values = torch.arange(count, dtype=torch.float32).remainder(251).div(125.5).sub(1).reshape(shape)
    return {"pixel_values": values, "labels": torch.arange(shape[0], dtype=torch.int64) % classes}
