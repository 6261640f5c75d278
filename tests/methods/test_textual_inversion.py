"""Textual inversion: one row learns by backpropagation, begins where it is told to, and nothing else moves."""

from __future__ import annotations

import pytest
import torch

from workbench.core.errors import BadInput, Incompatible
from workbench.testing import Subject

MODEL = "tiny-denoiser"


def subject(**settings) -> Subject:
    return Subject("textual-inversion", MODEL, settings)


def test_only_the_token_moves() -> None:
    model = subject().attached()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    subject().trained(model, 3)
    assert {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])} == {"tokens.token"}


def test_its_gradient_is_the_row_of_the_full_gradient() -> None:
    """Where the new token stands, its slope is what the whole table's gradient has in that row."""
    model = subject().attached()
    table, tokens = model.tokens, torch.tensor([model.tokens.new, 0])
    weight = torch.randn(2, table.token.numel())
    (table(tokens) * weight).sum().backward()
    torch.testing.assert_close(table.token.grad, weight[0])
    assert table.table.weight.grad is None


@pytest.mark.parametrize("word", [-1, 2])
def test_it_begins_as_a_known_token_or_as_the_mean_of_all(word) -> None:
    rows = subject(word=word).attached().tokens
    known = rows.table.weight[: rows.new]
    torch.testing.assert_close(rows.token.detach(), known.mean(0) if word == -1 else known[word])


def test_bad_input_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="word"):
        subject(word=10**5).attached()
    with pytest.raises(Incompatible, match="draws nothing"):
        Subject("textual-inversion", "tiny-bert", {}).case.attached()
