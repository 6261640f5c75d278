"""GPTQ (Frantar et al., 2022): round a weight column by column and let later columns make up for each error.

The error that is kept small is that of the layer's outputs on calibration inputs, whose second moments are all that
is used. Columns keep their order; later blocks of columns learn of errors one block at a time, which is the same sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.nn.affine_quantizer import codes, values

DAMPING = 0.01  #: of the mean of the moments' diagonal, added to it, as in the paper
BLOCK = 128  #: columns after which all later ones are told, as in the paper


def gptq(weight: Tensor, moments: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """``weight`` (out, in) moved onto the grid of ``scale`` and ``zero`` (out,), given ``moments`` (in, in) = X^T X."""
    left = weight.double().clone()
    damped = moments.double().clone()
    dead = damped.diagonal() == 0
    damped.diagonal().add_(DAMPING * float(damped.diagonal().mean()))
    damped.diagonal()[dead] = 1.0
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    scale, zero = scale.double(), zero.double()
    for first in range(0, left.shape[1], BLOCK):
        last = min(first + BLOCK, left.shape[1])
        errors = left.new_empty(left.shape[0], last - first)
        for column in range(first, last):
            here = left[:, column : column + 1]
            rounded = values(codes(here, scale, zero, bits), scale, zero)
            error = (here - rounded) / inverse[column, column]
            left[:, column + 1 : last] -= error * inverse[column, column + 1 : last]
            left[:, column], errors[:, column - first] = rounded[:, 0], error[:, 0]
        left[:, last:] -= errors @ inverse[first:last, last:]
    return left.to(weight.dtype)


def channel_scales(largest_input: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """Factors (in,) that move range from inputs to weights: input^alpha / weight^(1 - alpha), by largest magnitudes.

    The equivalent transform of SmoothQuant (Xiao et al., 2022); a channel that is never used keeps 1.
    """
    by_weight = weight.abs().amax(0)
    found = largest_input**alpha / by_weight.clamp(min=1e-8) ** (1 - alpha)
    return torch.where((largest_input > 0) & (by_weight > 0), found, torch.ones_like(found))
