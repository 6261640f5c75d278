"""The subspace in which the gradient of a matrix is kept: an orthonormal basis of its shorter side (GaLore, 2024).

Everything here is written for a *tall* matrix, rows >= columns, so that the basis always spans the columns: ``tall``
turns a wide matrix over, which is the side rule of GaLore. The basis is (columns, rank), the projected gradient
(rows, rank).
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Subspace iterations on the first gradient, where the start is random numbers.
COLD_ITERATIONS = 2


def order_in_memory(tensor: Tensor) -> tuple[int, ...]:
    """Dimensions as they lie in memory behind the first one, so that a convolution weight flattens without a copy."""
    return (0, *sorted(range(1, tensor.ndim), key=lambda d: -tensor.stride(d)))


def tall(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    """The tensor as a matrix with at least as many rows as columns: (out, everything else), or that transposed."""
    matrix = tensor if tensor.ndim == 2 else tensor.permute(order).flatten(1)
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def orthonormal(block: Tensor) -> Tensor:
    """An orthonormal basis of the columns, each turned towards the column it came from.

    LAPACK leaves the sign of each column open. Fixed, a basis that is refreshed stays near the one before, and moments
    that were gathered in the old one keep their meaning.
    """
    basis, triangle = torch.linalg.qr(block)
    diagonal = triangle.diagonal()
    return basis.mul_(torch.copysign(torch.ones_like(diagonal), diagonal))


def started(gradient: Tensor, rank: int) -> Tensor:
    """Random numbers, the same for every matrix of this width, taken through a few subspace iterations."""
    numbers = torch.Generator().manual_seed(0)
    basis = torch.randn(gradient.shape[1], rank, generator=numbers).to(gradient.dtype)
    for _ in range(COLD_ITERATIONS):
        basis = iterated(gradient, basis)
    return basis


def iterated(gradient: Tensor, basis: Tensor) -> Tensor:
    """One subspace iteration from ``basis``: two products with the gradient and a thin QR in float32."""
    return orthonormal((gradient.T @ (gradient @ basis)).float()).to(gradient.dtype)


def decomposed(gradient: Tensor, rank: int) -> Tensor:
    """The leading right singular vectors by a full SVD: the best basis, at the price of decomposing everything."""
    vectors = torch.linalg.svd(gradient.float(), full_matrices=False).Vh
    # A copy: a view would keep the whole factor alive for as long as the basis is.
    return vectors[:rank].T.to(gradient.dtype, copy=True)


def captured(gradient: Tensor, basis: Tensor) -> float:
    """Share of the gradient's squared norm that lies in the basis, between 0 and 1."""
    return float((gradient @ basis).norm() ** 2 / gradient.norm() ** 2)


def largest_angle(one: Tensor, other: Tensor) -> float:
    """Largest principal angle between two subspaces of equal dimension, in degrees."""
    cosines = torch.linalg.svdvals(one.double().T @ other.double())
    return float(torch.rad2deg(torch.acos(cosines.clamp(max=1.0).min())))
