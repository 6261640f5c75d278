"""The deepest k blocks train; the gradient there is full tuning's, and below it nothing is kept."""

import pytest
import torch

from workbench.core.errors import BadInput
from workbench.models.structure import blocks
from workbench.testing import Subject


def test_gradients_are_those_of_full_tuning(gradients) -> None:
    full = gradients(Subject("full", "tiny-llama"))
    last = gradients(Subject("last-blocks", "tiny-llama", {"blocks": 2}))
    assert last and set(last) < set(full)
    for name, gradient in last.items():
        torch.testing.assert_close(gradient, full[name], rtol=0, atol=0)


def test_all_blocks_leave_only_the_embeddings_frozen() -> None:
    model = Subject("last-blocks", "tiny-bert", {"blocks": 4}).attached()
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen and all("embeddings" in n for n in frozen)


def test_no_blocks_are_the_head_alone() -> None:
    none = Subject("last-blocks", "tiny-bert", {"blocks": 0}).attached()
    head = Subject("head", "tiny-bert").attached()
    names = [[n for n, p in m.named_parameters() if p.requires_grad] for m in (none, head)]
    assert names[0] == names[1]


def test_each_further_block_costs_memory() -> None:
    peaks = [Subject("last-blocks", "tiny-llama", {"blocks": k}).case.predict().peak for k in (1, 4)]
    assert peaks[0] < peaks[1]


def test_more_blocks_than_there_are_is_one_sentence() -> None:
    subject = Subject("last-blocks", "tiny-bert", {"blocks": 5})
    assert len(blocks(Subject("full", "tiny-bert").attached())) == 4
    with pytest.raises(BadInput, match="from 0 to 4"):
        subject.attached()
