"""A small diffusion transformer that is told by one token what to draw (DiT, Peebles and Xie, 2022).

Time runs from 0, the picture, to 1, noise: ``x = cos(pi t / 2) picture + sin(pi t / 2) noise``. The net says in which
direction that moves, the velocity ``cos(pi t / 2) noise - sin(pi t / 2) picture`` (Salimans and Ho, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCIES = 32  #: of the sines and cosines that a time is read from
OPENING = 0.1  #: conditions and output begin this small, so that the first steps of training are calm
START = 0.98  #: time that drawing begins at; at 1 there is no picture to see


@dataclass
class Velocity:
    """What the net says (``logits``) and what would be right, both (batch, channels, side, side)."""

    logits: Tensor
    target: Tensor


class DenoiserBlock(nn.Module):
    """Attention and a feed-forward layer, each behind a norm whose scale, shift and gate follow the condition."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        x = x + gate * self._attended(_normed(x) * (1 + scale) + shift)
        return x + gate2 * self.down(F.gelu(self.up(_normed(x) * (1 + scale2) + shift2)))

    def _attended(self, x: Tensor) -> Tensor:
        batch, patches, width = x.shape
        split = self.query_key_value(x).view(batch, patches, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        return self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.shape))


class Denoiser(nn.Module):
    """``blocks`` of ``width`` over patches of ``patch_size`` pixels; ``tokens`` is the table of what can be drawn.

    ``window`` is the part of the time axis that training draws its times from; a method may narrow it.
    """

    is_gradient_checkpointing = False

    def __init__(self, config: Mapping[str, Any], tokens: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, side, _ = shape
        width, self.patch = config["width"], config["patch_size"]
        if side % self.patch or side < self.patch:
            raise ValueError(f"a side of {side} pixels holds no whole number of patches of {self.patch}")
        self.channels, self.grid = channels, side // self.patch
        self.window = (0.0, 1.0)
        self.tokens = nn.Embedding(tokens, width)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.from_pixels = nn.Linear(channels * self.patch**2, width)
        self.places = nn.Parameter(torch.randn(self.grid**2, width) * 0.02)
        self.blocks = nn.ModuleList(
            DenoiserBlock(width, config["heads"], config["inner"]) for _ in range(config["blocks"])
        )
        self.to_pixels = nn.Linear(width, channels * self.patch**2)
        with torch.no_grad():
            for layer in (self.to_pixels, *(block.modulation for block in self.blocks)):
                layer.weight.mul_(OPENING)  # type: ignore[operator, union-attr]

    def forward(self, pixel_values: Tensor, noise: Tensor, levels: Tensor, tokens: Tensor, **unused: Any) -> Velocity:
        """The velocity of pictures (batch, channels, side, side) on their way to ``noise`` of the same shape.

        ``levels`` (batch,) in [0, 1) say where in the window each time lies, ``tokens`` (batch,) what is drawn.
        """
        low, high = self.window
        times = low + levels * (high - low)
        x, target = on_the_way(pixel_values, noise, times)
        return Velocity(self.velocity(x, times, tokens), target)

    def velocity(self, x: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """The velocity that is seen in ``x`` at ``times`` (batch,)."""
        condition = F.silu(self.time(_waves(times)) + self.tokens(tokens))
        hidden = self.from_pixels(self._patches(x)) + self.places
        for block in self.blocks:
            hidden = block(hidden, condition)
        return self._pictures(self.to_pixels(_normed(hidden)))

    def _patches(self, x: Tensor) -> Tensor:
        g, p, c = self.grid, self.patch, self.channels
        return x.reshape(-1, c, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(-1, g * g, c * p * p)

    def _pictures(self, patches: Tensor) -> Tensor:
        g, p, c = self.grid, self.patch, self.channels
        return patches.view(-1, g, g, c, p, p).permute(0, 3, 1, 4, 2, 5).reshape(-1, c, g * p, g * p)


def on_the_way(picture: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Where pictures (batch, channels, side, side) are at ``times`` (batch,), and their velocity there."""
    angle = times[:, None, None, None] * (math.pi / 2)
    cosine, sine = angle.cos(), angle.sin()
    return picture * cosine + noise * sine, noise * cosine - picture * sine


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _waves(times: Tensor) -> Tensor:
    """Sines and cosines of a time, (batch, 2 x frequencies); the longest wave is two axes long, the shortest 1/100."""
    steps = torch.arange(FREQUENCIES, device=times.device, dtype=times.dtype)
    angles = times[:, None] * torch.exp(steps * (math.log(200.0) / FREQUENCIES)) * math.pi
    return torch.cat([angles.sin(), angles.cos()], 1)


@torch.no_grad()
def drawn(model: Denoiser, tokens: Tensor, noise: Tensor, steps: int = 25) -> Tensor:
    """Pictures in [-1, 1] of ``tokens`` (count,) made from ``noise`` (count, channels, side, side).

    Equal steps of time without fresh noise (DDIM, Song et al., 2021): the same noise gives the same pictures.
    """
    x = noise.to(model.places.dtype)
    for step in range(steps):
        now, after = (START * (1 - (step + i) / steps) * math.pi / 2 for i in (0, 1))
        velocity = model.velocity(x, x.new_full((len(x),), 2 * now / math.pi), tokens)
        picture = (math.cos(now) * x - math.sin(now) * velocity).clamp(-1, 1)
        seen = (x - math.cos(now) * picture) / math.sin(now)
        x = math.cos(after) * picture + math.sin(after) * seen
    return x.float()
