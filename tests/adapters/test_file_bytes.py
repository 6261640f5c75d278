"""The size of a file that is never written is that of the one that the library writes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save

from workbench.adapters.tensor_file import _FORMATS, file_bytes
from workbench.memory import ledger
from workbench.testing import Subject

KINDS = tuple(getattr(torch, name) for name in _FORMATS)


def written(state: dict[str, torch.Tensor]) -> int:
    return len(save({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_number_format_alone_and_beside_a_float(kind: torch.dtype) -> None:
    for shape in ((), (1,), (7, 3), (0,), (1000, 13)):
        state = {"b.weight": torch.zeros(shape, dtype=kind), "a.bias": torch.zeros(129)}
        assert file_bytes(state) == written(state), shape


def test_many_tensors_in_their_order() -> None:
    state = {f"layer.{i}.{kind}": torch.zeros(i % 5, 3, dtype=kind) for i, kind in enumerate(KINDS * 20)}
    assert file_bytes(state) == written(state) and file_bytes({}) == written({})


@pytest.mark.parametrize("method", ["full", "lora", "bias"])
def test_the_tuned_part_of_a_model_and_nothing_is_copied(method: str) -> None:
    subject = Subject(method, "tiny-bert")
    state = subject.method.adapter_state(subject.attached())
    assert file_bytes(state) == written(state)
    if ledger.available():
        with ledger.counting() as count:
            file_bytes(state)
        assert count.peak == 0
