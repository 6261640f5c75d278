"""The basis is orthonormal, complete at full rank, best after an SVD; warm iterations come close to that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workbench.nn.gradient_subspace import (
    captured,
    decomposed,
    iterated,
    largest_angle,
    order_in_memory,
    orthonormal,
    started,
    tall,
)

RANK = 8


def matrix(rows: int = 60, columns: int = 40, decay: float = 0.7, seed: int = 0) -> Tensor:
    """Random singular vectors, singular values ``decay ** i``."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, columns, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(columns, columns, generator=generator)).Q
    return left * decay ** torch.arange(columns) @ right.T


@pytest.mark.parametrize("find", [started, decomposed])
def test_the_basis_is_orthonormal(find) -> None:
    basis = find(matrix(), RANK)
    torch.testing.assert_close(basis.T @ basis, torch.eye(RANK), rtol=0, atol=1e-5)


@pytest.mark.parametrize("find", [started, decomposed])
def test_at_full_rank_nothing_is_lost(find) -> None:
    gradient = matrix()
    basis = find(gradient, gradient.shape[1])
    torch.testing.assert_close(gradient @ basis @ basis.T, gradient, rtol=0, atol=1e-5)


def test_an_svd_leaves_the_best_approximation() -> None:
    gradient = matrix()
    basis = decomposed(gradient, RANK)
    rest = torch.linalg.svdvals(gradient)[RANK:].norm()
    torch.testing.assert_close((gradient - gradient @ basis @ basis.T).norm(), rest, rtol=1e-4, atol=1e-6)


def test_an_svd_basis_holds_no_more_than_itself() -> None:
    basis = decomposed(matrix(), RANK)
    assert basis.untyped_storage().nbytes() == basis.numel() * basis.element_size()


def test_warm_iterations_close_the_angle_to_the_svd() -> None:
    gradient = matrix()
    best = decomposed(gradient, RANK)
    basis = started(gradient, RANK)
    angles = [largest_angle(basis, best)]
    for _ in range(12):
        basis = iterated(gradient, basis)
        angles.append(largest_angle(basis, best))
    assert angles[-1] < 1.0 < angles[0]
    assert captured(gradient, started(gradient, RANK)) > 0.98 * captured(gradient, best)


def test_a_refreshed_basis_keeps_the_directions_of_its_columns() -> None:
    gradient = matrix()
    before = started(gradient, RANK)
    after = iterated(gradient + 1e-3 * matrix(seed=1), before)
    assert torch.all((before * after).sum(0) > 0)
    turned = orthonormal(-before)
    torch.testing.assert_close(turned, -before, rtol=0, atol=1e-5)


def test_a_gradient_of_zeros_still_gives_a_basis() -> None:
    basis = started(torch.zeros(30, 20), RANK)
    torch.testing.assert_close(basis.T @ basis, torch.eye(RANK), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 3, 3, 3), (6, 4, 7)])
def test_the_shorter_side_is_projected_and_nothing_is_copied(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    for laid in (tensor, tensor.to(memory_format=torch.channels_last) if len(shape) == 4 else tensor):
        seen = tall(laid, order_in_memory(laid))
        assert seen.shape[0] >= seen.shape[1]
        assert seen.data_ptr() == laid.data_ptr()


def test_angles_know_equal_and_orthogonal_subspaces() -> None:
    axes = torch.eye(6)
    assert largest_angle(axes[:, :2], axes[:, [1, 0]]) == pytest.approx(0.0, abs=1e-5)
    assert largest_angle(axes[:, :2], axes[:, 2:4]) == pytest.approx(90.0)
