"""BitFit moves biases and the fresh head, nothing else."""

import torch

from workbench.testing import Subject

SUBJECT = Subject("bias", "tiny-bert")


def test_only_biases_and_the_head_move() -> None:
    model = SUBJECT.attached()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    SUBJECT.trained(model, 3)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert {n for n in moved if not n.endswith(".bias")} == {"classifier.weight"}


def test_linear_layers_keep_no_input_for_their_weights() -> None:
    """Less is kept for backward than full tuning keeps, but far more than the trained share suggests."""
    saved = {name: Subject(name, "tiny-bert").case.predict().saved for name in ("full", "bias")}
    model = SUBJECT.attached()
    share = sum(p.numel() for p in model.parameters() if p.requires_grad) / sum(p.numel() for p in model.parameters())
    assert saved["bias"] < saved["full"]
    assert saved["bias"] / saved["full"] > 10 * share
