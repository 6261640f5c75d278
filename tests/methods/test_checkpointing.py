"""Recomputation changes what is kept, never the gradient."""

import pytest
import torch

from workbench.testing import Subject


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-llama", "tiny-vit"])
@pytest.mark.parametrize("every", [1, 2])
def test_gradients_are_those_of_full_tuning(gradients, model: str, every: int) -> None:
    """Also with dropout (tiny-bert): the recomputation draws the same numbers."""
    full = gradients(Subject("full", model))
    again = gradients(Subject("checkpointing", model, {"recompute": every}))
    assert list(full) == list(again)
    for name, gradient in full.items():
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-6)


def test_it_keeps_less_for_backward() -> None:
    full = Subject("full", "tiny-llama", batch=16).case.predict()
    again = Subject("checkpointing", "tiny-llama", batch=16).case.predict()
    assert again.saved < 0.6 * full.saved
    assert again.peak < full.peak


def test_batch_norm_is_refused_because_its_statistics_would_move_twice() -> None:
    reason = Subject("checkpointing", "tiny-cnn").method.applies_to(Subject("full", "tiny-cnn").case.spec)
    assert reason is not None and "batch-norm" in reason
