"""Counter-based noise in numpy: the numbers of ``csrc/noise.cpp``, bit for bit, where no compiler is at hand.

About thirty times slower. Every line is an integer operation or one correctly rounded float32 operation, in the
order of the kernel; the constants are explained there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

ROUNDS, LANES = 7, 16
WORDS = 4 * LANES
BLOCK = 1 << 16  #: elements made at a time, a multiple of the elements of one generator call

_LOG = (0.3780399262905121, -0.41209352016448975, 0.49762675166130066, -0.6660659313201904, 1.0000393390655518)
_LOW = np.uint64(0xFFFFFFFF)
_UPPER = np.uint64(32)


def philox(counter: tuple[Any, Any, Any, Any], seed: int, rounds: int = ROUNDS) -> list[np.ndarray]:
    """The four words of Philox4x32 for each counter (four numbers or arrays of uint64) under a 64-bit key."""
    a, b, c, d = np.broadcast_arrays(*(np.asarray(n, dtype=np.uint64) for n in counter))
    first, second = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(rounds):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = (q >> _UPPER) ^ b ^ np.uint64(first), q & _LOW
        c, d = (p >> _UPPER) ^ d ^ np.uint64(second), p & _LOW
        first, second = (first + 0x9E3779B9) & 0xFFFFFFFF, (second + 0xBB67AE85) & 0xFFFFFFFF
    return [n.astype(np.uint32) for n in (a, b, c, d)]


def _words(seed: int, group: int, groups: int, tensor: int, kind: int) -> np.ndarray:
    """Words of ``groups`` generator calls from number ``group`` on, shape (groups, 4, 16)."""
    counts = np.arange(group * LANES, (group + groups) * LANES, dtype=np.uint64).reshape(groups, LANES)
    return np.stack(philox((counts & _LOW, counts >> _UPPER, tensor, kind), seed), axis=1)


def _box_muller(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = np.float32
    bits = ((u & np.uint32(0x7FFFFFFF)) | np.uint32(1)).astype(np.int32).astype(np.float32).view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    t = (bits - (exponent << np.int32(23))).view(np.float32) - one(1)
    log = np.full_like(t, -0.23654980957508087)
    for coefficient in _LOG:
        log = log * t + one(coefficient)
    log = (log * t - one(2.0000064373016357)) * t
    radius = np.sqrt(log - (exponent - np.int32(31)).astype(np.float32) * one(1.3862943611198906))
    x = (v << np.uint32(2)).view(np.int32).astype(np.float32) * one(4.656612873077393e-10)
    y = x * x
    sine = ((one(0.0024271055590361357) * y - one(0.08071399480104446)) * y + one(0.7853942513465881)) * x * radius
    cosine = one(-0.0003188804548699409) * y + one(0.015849914401769638)
    cosine = ((cosine * y - one(0.3084242641925812)) * y + one(1)) * radius
    cosine = (cosine.view(np.uint32) ^ (v & np.uint32(0x80000000))).view(np.float32)
    swapped = (v & np.uint32(0x40000000)) != 0
    return np.where(swapped, sine, cosine), np.where(swapped, cosine, sine)


def _drawn(seed: int, start: int, size: int, tensor: int, sign: bool) -> np.ndarray:
    """Noise of elements ``start`` to ``start + size`` of a tensor, float32."""
    per_call = 32 * WORDS if sign else WORDS
    group = start // per_call
    words = _words(seed, group, -(-(start + size) // per_call) - group, tensor, int(sign))
    if sign:
        shifts = np.arange(31, -1, -1, dtype=np.uint32)[None, :, None]
        minus = (words.reshape(-1, 1, WORDS) << shifts) & np.uint32(0x80000000)
        z = (minus | np.uint32(0x3F800000)).view(np.float32)
    else:
        z = np.empty(words.shape, np.float32)
        for pair in (0, 2):
            z[:, pair], z[:, pair + 1] = _box_muller(words[:, pair], words[:, pair + 1])
    skipped = start - group * per_call
    return z.reshape(-1)[skipped : skipped + size]


def add_noise(out: Tensor, weight: Tensor, start: int, tensor: int, seeds: Any, scales: Any, sign: bool) -> None:
    """``out = weight + sum(scale * noise)`` for flat tensors whose first element has index ``start``."""
    wide = np.float64 if weight.dtype is torch.float64 else np.float32
    for begin in range(0, weight.numel(), BLOCK):
        block = weight[begin : begin + BLOCK]
        total = block.to(torch.float64 if wide is np.float64 else torch.float32).numpy().copy()
        for seed, scale in zip(seeds, scales, strict=True):
            z = _drawn(int(seed), start + begin, block.numel(), tensor, sign)
            total += wide(scale) * z.astype(wide)
        out[begin : begin + BLOCK].copy_(torch.from_numpy(total))
