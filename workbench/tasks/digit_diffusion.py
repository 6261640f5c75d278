"""Nine kinds of handwritten digit to draw; the tenth is kept back for ``new-digit``."""

from __future__ import annotations

import functools

from workbench.tasks.base import register
from workbench.tasks.drawing import Album, Drawing, album

NEW = 9


@functools.cache
def _digits() -> Album:
    from workbench.tasks.digits import pictures

    images, labels = pictures()
    return album((images / 8 - 1).astype("float32"), labels, NEW)


class Digits(Drawing):
    """The pictures of scikit-learn, 8 x 8."""

    names = tuple("0123456789")
    new = NEW
    side = 8
    default_model = "tiny-denoiser"

    @classmethod
    def album(cls) -> Album:
        return _digits()


@register
class DigitDiffusion(Digits):
    name = "digit-diffusion"
    title = "Draw digits, all but the nine"
    doc = "A denoiser learns to draw nine of ten digits in six styles each; what new-digit starts from."
    default_batch = 64
