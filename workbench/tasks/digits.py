"""Handwritten digits of 8 x 8 pixels that come with scikit-learn: image classification without a download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import split
from workbench.tasks.image import ImageClassification

if TYPE_CHECKING:
    from workbench.models.base import ModelSpec


@register
class Digits(ImageClassification):
    name = "digits"
    title = "Handwritten digits, 8 x 8"
    doc = "Which digit is it? 1,797 pictures that come with scikit-learn (BSD); for quick runs."
    labels = tuple("0123456789")
    largest = 16
    default_model = "tiny-cnn"
    default_batch = 32
    defaults = (1000, 500)

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        from sklearn.datasets import load_digits

        self.check(model)
        bunch = load_digits()
        images, labels = bunch.images.astype("uint8"), bunch.target
        train, test = split(self.name, len(images), sizes.train, sizes.test, self.defaults, seed)
        described = f"seeded shuffle of {len(images)} pictures, {len(train)} train / {len(test)} test"
        rows = [[(images[i], int(labels[i])) for i in part] for part in (train, test)]
        return self.prepare(model, rows[0], rows[1], sizes, split=described, seed=seed)
