"""Packed attention in a causal model: the model leaves the mask out where torch's own attention would make it."""

from __future__ import annotations

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from workbench.parts.storage.packed_static import PackedStatic


@pytest.fixture(scope="module")
def logits():
    """Logits of a small model with GELU, plain and packed, for any tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    plain = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50, hidden_act="gelu", **sizes)).train()
    kept = {n: t.clone() for n, t in plain.state_dict().items()}
    other = GPTNeoXForCausalLM(plain.config).train()
    other.load_state_dict(kept)
    packed = PackedStatic(0.1).encode(other)
    return lambda which, **batch: (plain if which == "plain" else packed)(**batch).logits.detach()


@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "padding"])
def test_packed_logits_are_the_plain_ones(logits, masked):
    tokens = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens)
    if masked:
        mask[0, -4:] = 0
    batch = {"input_ids": tokens, "attention_mask": mask}
    there = mask.bool()
    assert torch.allclose(logits("packed", **batch)[there], logits("plain", **batch)[there], atol=1e-6)


def test_no_token_sees_what_is_to_come(logits):
    tokens = torch.arange(18).view(2, 9)
    later = tokens.clone()
    later[:, -1] += 1
    before, after = (logits("packed", input_ids=t) for t in (tokens, later))
    assert torch.equal(before[:, :-1], after[:, :-1]) and not torch.equal(before[:, -1], after[:, -1])
