"""Nine kinds of clothing to draw; the bag is kept back for ``new-garment``."""

from __future__ import annotations

import functools

from workbench.tasks.base import register
from workbench.tasks.drawing import Album, Drawing, album
from workbench.tasks.fashion_mnist import FILES, FashionMnist, read_idx

NEW = FashionMnist.labels.index("bag")
PICTURES = 9000  #: of the published 60,000 for training, which are in random order already


@functools.cache
def _clothes() -> Album:
    from workbench.assets import locate

    folder, name = locate("fashion-mnist"), FILES["train"]
    pictures = read_idx(folder / f"{name}-images-idx3-ubyte.gz", FashionMnist.name)[:PICTURES]
    kinds = read_idx(folder / f"{name}-labels-idx1-ubyte.gz", FashionMnist.name)[:PICTURES]
    return album((pictures / 127.5 - 1).astype("float32"), kinds.astype("int64"), NEW)


class Clothes(Drawing):
    """Pictures of Fashion-MNIST, 28 x 28."""

    names = FashionMnist.labels
    new = NEW
    side = 28
    assets = FashionMnist.assets
    default_model = "small-denoiser"

    @classmethod
    def album(cls) -> Album:
        return _clothes()


@register
class FashionDiffusion(Clothes):
    name = "fashion-diffusion"
    title = "Draw clothes, all but the bag"
    doc = "A denoiser learns to draw nine of ten kinds of clothing in six styles each; what new-garment starts from."
    default_batch = 64
    defaults = (5000, 100)
