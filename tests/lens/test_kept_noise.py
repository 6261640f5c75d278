"""Keeping the noise changes nothing but bytes; that is what drawing it anew saves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from workbench.core.errors import Incompatible
from workbench.lens.kept_noise import kept_noise
from workbench.parts.estimator.stored_noise import StoredNoise
from workbench.testing import Subject


def test_the_lazy_way_takes_the_same_step_for_as_many_bytes_more_as_there_are_weights() -> None:
    subject = Subject("mezo", "tiny-bert", {"probes": 2})
    ends = []
    for lazy in (False, True):
        step = subject.case.step(subject.attached())
        if lazy:
            step.parts = replace(step.parts, estimator=StoredNoise(2, "gaussian", 1e-3))
        step.set_lr(1e-2)
        step(subject.examples(), seed=4)
        ends.append([p.detach().clone() for p in step.parameters])
    for ours, theirs in zip(*ends):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    case = Subject("mezo", "tiny-bert").case
    ours, kept, masked = kept_noise(case)
    weights = sum(p.nbytes for p in case.attached().parameters())
    assert all(one.predicted == one.measured for one in (ours, kept, masked))
    assert kept.measured - ours.measured > 0.9 * weights
    assert masked.measured > kept.measured + 0.2 * weights
    assert 0 < ours.measured / ours.inference - 1 < 0.1


def test_what_a_kept_mask_leaves_out_keeps_its_bits() -> None:
    subject = Subject("mezo", "tiny-bert")
    step = subject.case.step(subject.attached())
    before = torch.cat([p.detach().flatten().clone() for p in step.parameters])
    step.parts = replace(step.parts, estimator=StoredNoise(share=0.1))
    step.set_lr(1.0)
    step(subject.examples(), seed=1)
    moved = torch.cat([p.detach().flatten() for p in step.parameters]) != before
    assert 0.05 < float(moved.float().mean()) <= 0.11


OTHERS = ({"gradient": "forward"}, {"gradient": "one-sided"}, {"scope": "block-wise"})


@pytest.mark.parametrize("settings", OTHERS, ids=str)
def test_other_slopes_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(Incompatible, match="two-sided"):
        kept_noise(Subject("mezo", "tiny-bert", settings).case)
    with pytest.raises(Incompatible, match="share"):
        StoredNoise(share=0.0).prepare(torch.nn.Linear(2, 2))
