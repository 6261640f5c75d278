"""The size model is exact at shapes it never saw and refuses when its check misses."""

from __future__ import annotations

import time

import numpy as np
import pytest
from memory_cases import CASES, images, tokens

from workbench.core.errors import Incompatible
from workbench.core.profile import Tier
from workbench.memory.predict import predict, trace
from workbench.memory.size_model import Curve, SizeModel, curve_of

SHAPES = ((2, 8), (4, 8), (2, 16), (4, 16), (3, 24), (2, 32), (5, 20))


def curve(case, batch):
    return curve_of(trace(lambda: case.build("meta"), case.make, batch, tier=Tier.FAKE)[1])


def test_exact_at_new_shapes_and_instant():
    case = CASES["full adamw"]
    model = SizeModel.fit({(b, t): curve(case, lambda b=b, t=t: tokens(b, t)) for b, t in SHAPES})
    assert model.error == 0
    for b, t in ((8, 32), (7, 50)):
        truth = predict(lambda: case.build("meta"), case.make, lambda b=b, t=t: tokens(b, t), tier=Tier.FAKE)
        found = model.at(b, t)
        assert found.peak == truth.peak
        assert dict(found.by_category) == truth.by_category
    start = time.perf_counter()
    model.peak(64, 64)
    assert time.perf_counter() - start < 0.05


def test_images_need_the_batch_only():
    case = CASES["net adamw"]
    model = SizeModel.fit({(b, 1): curve(case, lambda b=b: images(b)) for b in (2, 3, 5)})
    truth = predict(lambda: case.build("meta"), case.make, lambda: images(16), tier=Tier.FAKE)
    assert model.peak(16) == truth.peak


def test_refuses_where_the_check_misses_or_operators_differ():
    names = (("mm", "", "forward"),)
    bent = {(b, 1): Curve(names, np.array([[b**3, 0, 0, 0, 0, 0]])) for b in (1, 2, 3)}
    model = SizeModel.fit(bent)
    assert not model.usable
    with pytest.raises(Incompatible, match="miss the trace"):
        model.peak(4)
    other = {**bent, (2, 1): Curve((("add", "", "forward"),), bent[2, 1].bytes)}
    with pytest.raises(Incompatible, match="operators"):
        SizeModel.fit(other)
