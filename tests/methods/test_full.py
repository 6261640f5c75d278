"""Full tuning is a bare torch loop, and trains everything."""

import torch

from workbench.testing import Subject

SUBJECT = Subject("full", "tiny-llama", {"optimizer": "adamw", "lr": 1e-3})


def test_it_equals_a_bare_torch_loop_bit_for_bit() -> None:
    ours, bare = SUBJECT.attached(), SUBJECT.attached()
    SUBJECT.trained(ours, 3)
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    batch = SUBJECT.examples()[0]
    for _ in range(3):
        SUBJECT.case.task.loss(bare, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), bare.parameters(), strict=True))


def test_every_parameter_trains() -> None:
    assert all(p.requires_grad for p in SUBJECT.attached().parameters())


def test_accumulated_micro_batches_are_the_large_batch() -> None:
    """On a model without dropout two micro-batches of two give the gradient of one batch of four."""
    large, small = SUBJECT.attached(), SUBJECT.attached()
    batch = SUBJECT.examples()[0]
    halves = [{n: t[part] for n, t in batch.items()} for part in (slice(0, 2), slice(2, 4))]
    found: list[list[torch.Tensor]] = []
    for model, batches in ((large, [batch]), (small, halves)):
        step, grads = SUBJECT.case.step(model), []
        step.observer = lambda p, grads=grads: grads.append(p.grad.clone())
        step(batches)
        found.append(grads)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
