"""The lever on frozen convolutions: fewer bytes, the same gradients, and a prediction that stays exact."""

from __future__ import annotations

import pytest
import torch

from workbench.core.errors import BadInput
from workbench.memory.measure import measure
from workbench.testing import Subject


def gradients(settings):
    subject = Subject("bias", "tiny-cnn", settings)
    attached = subject.attached()
    subject.trained(attached, 2)
    return {name: p.detach() for name, p in attached.named_parameters()}


@pytest.mark.parametrize("more", [{}, {"bit_masks": True}])
def test_predicted_bytes_are_measured_bytes_and_fewer_are_kept(more):
    stock = Subject("bias", "tiny-cnn", more).case.predict()
    case = Subject("bias", "tiny-cnn", {"lean_frozen": True, **more}).case
    predicted, measured = case.predict(), measure(case.step(case.attached()), case.example())
    assert predicted.peak == measured.peak
    assert predicted.saved == measured.saved < stock.saved


def test_trains_to_the_same_weights():
    plain, lean = gradients({}), gradients({"lean_frozen": True})
    assert plain.keys() == lean.keys()
    for name in plain:
        torch.testing.assert_close(lean[name], plain[name], rtol=1e-5, atol=1e-6)


def test_refused_where_there_is_no_frozen_convolution():
    for method, model in (("full", "tiny-cnn"), ("bias", "tiny-bert")):
        with pytest.raises(BadInput, match="lean_frozen"):
            Subject(method, model, {"lean_frozen": True}).case.attached()
