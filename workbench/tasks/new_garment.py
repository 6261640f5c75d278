"""A kind of thing that a trained denoiser never saw, from a few pictures: the bag of Fashion-MNIST."""

from __future__ import annotations

from workbench.tasks.base import register
from workbench.tasks.fashion_diffusion import Clothes


@register
class NewGarment(Clothes):
    name = "new-garment"
    title = "Draw a bag, never seen, from 16 pictures"
    doc = "The bag was kept back from the denoiser; sixteen pictures of it are all there is to learn its token from."
    teaches_new = True
    default_batch = 8
    defaults = (16, 80)
