"""A digit that a trained denoiser never saw, from a few pictures: what personalisation learns."""

from __future__ import annotations

from workbench.tasks.base import register
from workbench.tasks.digit_diffusion import Digits


@register
class NewDigit(Digits):
    name = "new-digit"
    title = "Draw a digit never seen, from 16 pictures"
    doc = "The nine was kept back from the denoiser; sixteen pictures of it are all there is to learn its token from."
    teaches_new = True
    default_batch = 8
    defaults = (16, 80)
