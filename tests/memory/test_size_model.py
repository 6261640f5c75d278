"""The size model is exact at shapes it never saw and refuses when its check misses."""

from __future__ import annotations

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


def test_exact_at_new_shapes():
    case = CASES["full adamw"]
    model = SizeModel.fit({(b, t): curve(case, lambda b=b, t=t: tokens(b, t)) for b, t in SHAPES})
    assert model.error == 0
    for b, t in ((8, 32), (7, 50)):
        truth = predict(lambda: case.build("meta"), case.make, lambda b=b, t=t: tokens(b, t), tier=Tier.FAKE)
        found = model.at(b, t)
        assert found.peak == truth.peak
        assert dict(found.by_category) == truth.by_category


def test_images_need_the_batch_only():
    case = CASES["net adamw"]
    model = SizeModel.fit({(b, 1): curve(case, lambda b=b: images(b)) for b in (2, 3, 5)})
    truth = predict(lambda: case.build("meta"), case.make, lambda: images(16), tier=Tier.FAKE)
    assert model.peak(16) == truth.peak


def test_three_traces_are_enough_for_a_transformer():
    case = CASES["full adamw"]
    shapes = ((2, 8), (3, 4), (8, 16))
    model = SizeModel.fit({(b, t): curve(case, lambda b=b, t=t: tokens(b, t)) for b, t in shapes})
    assert model.held_out == (8, 16) and model.usable
    truth = predict(lambda: case.build("meta"), case.make, lambda: tokens(1, 30), tier=Tier.FAKE)
    assert model.peak(1, 30) == truth.peak


def made(size, sign=1, operator="mm"):
    """A curve of one event besides the six that stand for what is held."""
    names = (("", "", "forward"),) * 6 + ((operator, "", "forward"),)
    return Curve(names, (1,) * 6 + (sign,), (0, 1, 2, 3, 4, 5, 4), np.array([100, 0, 0, 0, 0, 0, size]))


def test_refuses_where_no_polynomial_is_found_or_operators_differ():
    bent = {(b, 1): made(b**3) for b in (1, 2, 3, 4)}
    with pytest.raises(Incompatible, match="mm are no polynomial"):
        SizeModel.fit(bent)
    with pytest.raises(Incompatible, match="operators"):
        SizeModel.fit({**bent, (2, 1): made(8, operator="add")})
    with pytest.raises(Incompatible, match="two traces"):
        SizeModel.fit(dict(list(bent.items())[:2]))


def test_a_check_that_misses_is_never_interpolated():
    model = SizeModel.fit({(b, 1): made(10 * b) for b in (1, 2, 3)} | {(4, 1): made(41)})
    assert not model.usable
    with pytest.raises(Incompatible, match="miss the trace"):
        model.peak(4)


def test_inside_bytes_without_a_polynomial_are_a_bound_and_refused_at_the_peak():
    model = SizeModel.fit({(b, 1): made(b**3 * 1000, sign=0) for b in (1, 2, 3, 4)})
    with pytest.raises(Incompatible, match="upper bound"):
        model.peak(4)


def test_sizes_of_two_terms_need_three_traces():
    two = {(b, 1): made(7 + 3 * b) for b in (2, 3)} | {(8, 1): made(31)}
    with pytest.raises(Incompatible, match="no polynomial"):
        SizeModel.fit(two, hold=(8, 1))
    assert SizeModel.fit({**two, (5, 1): made(22)}, hold=(8, 1)).peak(10) == 137
