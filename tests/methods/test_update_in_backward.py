"""The update inside backward is the same update; gradients never stand together."""

import pytest
import torch

from workbench.core.errors import Incompatible
from workbench.core.profile import Category
from workbench.testing import Subject


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("model", ["tiny-bert", "tiny-cnn"])
def test_weights_equal_full_tuning_bit_for_bit(optimizer: str, model: str) -> None:
    settings = {"optimizer": optimizer, "lr": 1e-2}
    ours, full = Subject("update-in-backward", model, settings), Subject("full", model, settings)
    a, b = ours.attached(), full.attached()
    assert ours.trained(a, 3)[1] == full.trained(b, 3)[1]
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_at_most_a_few_gradients_are_alive() -> None:
    """A tied embedding collects two contributions, so it is the largest gradient that may stand."""
    settings = {"optimizer": "sgd"}
    highest = {}
    for name in ("full", "update-in-backward"):
        subject = Subject(name, "tiny-bert", settings)
        profile = subject.case.predict()
        highest[name] = max(split.get(Category.GRADIENTS, 0) for split in profile.by_phase.values())
    largest = max(p.numel() * p.element_size() for p in Subject("full", "tiny-bert").attached().parameters())
    assert highest["update-in-backward"] <= largest < highest["full"]


def test_accumulation_is_refused() -> None:
    from workbench.case import Case

    with pytest.raises(Incompatible, match="drops each gradient"):
        Case("tokens", "tiny-bert", "update-in-backward", 4, 16, accumulate=2)
