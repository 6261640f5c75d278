"""Handwritten digits of 8 x 8 pixels that come with scikit-learn: image classification without a download."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.errors import ResourceMissing
from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import split
from workbench.tasks.image import ImageClassification

if TYPE_CHECKING:
    import numpy as np

    from workbench.models.base import ModelSpec


@functools.cache
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """All of them, (1797, 8, 8) from 0 to 16, and their labels, to be read only.

    Taken from scikit-learn's own file: importing its module of data sets costs more than a second.
    """
    import numpy as np

    package = find_spec("sklearn")
    folder = Path(package.origin).parent if package and package.origin else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise ResourceMissing("the digits are a file of scikit-learn that this installation of it lacks")
    rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    for array in (images, labels):
        array.setflags(write=False)
    return images, labels


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
        self.check(model)
        images, labels = pictures()
        train, test = split(self.name, len(images), sizes.train, sizes.test, self.defaults, seed)
        described = f"seeded shuffle of {len(images)} pictures, {len(train)} train / {len(test)} test"
        rows = [[(images[i], int(labels[i])) for i in part] for part in (train, test)]
        return self.prepare(model, rows[0], rows[1], sizes, split=described, seed=seed)
