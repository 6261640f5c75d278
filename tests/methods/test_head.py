"""The probe trains the output layer on features that do not move, and autograd keeps none of the body."""

import pytest
import torch

from workbench.core.errors import Incompatible
from workbench.testing import Subject

SUBJECT = Subject("head", "tiny-bert")


def test_only_the_output_layer_trains() -> None:
    trained = [n for n, p in SUBJECT.attached().named_parameters() if p.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]


def test_the_body_is_not_kept_for_backward() -> None:
    kept = []
    model = SUBJECT.attached()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        SUBJECT.case.task.loss(model, SUBJECT.examples()[0])
    hidden = 4 * 16 * 64
    assert kept and max(t.numel() for t in kept) < hidden


def test_a_tied_output_layer_is_refused_by_what_the_model_declares() -> None:
    with pytest.raises(Incompatible, match="input embedding"):
        Subject("head", "tiny-llama").case.attached()
