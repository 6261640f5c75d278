"""Fashion-MNIST: grey pictures of clothes (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.seeds import derive
from workbench.tasks.base import Sizes, TaskData, register
from workbench.tasks.content import size_of
from workbench.tasks.image import ImageClassification

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.models.base import ModelSpec

FILES = {"train": "train", "test": "t10k"}


def read_idx(path: Path, task: str) -> Any:
    """The array of a gzipped IDX file of unsigned bytes; refuses one that is shorter than its header says."""
    import numpy as np

    try:
        raw = gzip.decompress(path.read_bytes())
        dimensions = raw[3]
        shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (EOFError, OSError, IndexError, ValueError) as error:
        raise BadInput("data", task, f"a whole {path.name}; it is truncated or not an IDX file ({error})") from error


@register
class FashionMnist(ImageClassification):
    name = "fashion-mnist"
    title = "Fashion-MNIST"
    doc = "Which of ten kinds of clothing is on the picture? 60,000 + 10,000 grey pictures of 28 x 28."
    labels = (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    )  # fmt: skip
    largest = 255
    assets = ("fashion-mnist",)
    default_model = "efficientnet-lite0"
    default_batch = 32

    def load(self, model: ModelSpec, sizes: Sizes, seed: int) -> TaskData:
        import numpy as np

        from workbench.assets import locate

        self.check(model)
        folder, taken = locate("fashion-mnist"), {}
        for part, asked, default in (("train", sizes.train, 2000), ("test", sizes.test, 1000)):
            images = read_idx(folder / f"{FILES[part]}-images-idx3-ubyte.gz", self.name)
            labels = read_idx(folder / f"{FILES[part]}-labels-idx1-ubyte.gz", self.name)
            if len(images) != len(labels):
                raise BadInput(
                    "data", self.name, f"as many labels as pictures; {len(labels)} labels, {len(images)} pictures"
                )
            count = size_of(self.name, part, asked, default, len(images))
            order = np.random.default_rng(derive(seed, "split", self.name, part)).permutation(len(images))[:count]
            taken[part] = [(images[i], int(labels[i])) for i in order]
        described = f"the published split, seeded draw of {len(taken['train'])} train / {len(taken['test'])} test"
        return self.prepare(model, taken["train"], taken["test"], sizes, split=described, seed=seed)
