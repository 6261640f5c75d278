"""Angles and errors of estimates are those that theory gives, by layer and for the whole."""

from __future__ import annotations

import pytest

from workbench import figures
from workbench.core.errors import BadInput, Incompatible
from workbench.figures.mpl import to_svg
from workbench.lens.estimate_quality import estimate_quality
from workbench.records.schema import ALL_LAYERS
from workbench.tasks.base import Sizes
from workbench.testing import Subject

DRAWS = 60


@pytest.fixture(scope="module")
def found():
    case = Subject("head", "tiny-bert", {"gradient": "two-sided", "optimizer": "sgd"}).case
    return estimate_quality(case, (1, 8), DRAWS, sizes=Sizes(16, 8, 16))


def test_the_error_is_what_theory_expects(found) -> None:
    """The mean of chi-square-like squares over sixty draws lies within half of (d + 1) / q."""
    whole = {q.probes: q for q in found if q.layer == ALL_LAYERS}
    for probes, quality in whole.items():
        assert quality.draws == DRAWS
        assert quality.expected_error == pytest.approx((quality.elements + 1) / probes)
        assert quality.error == pytest.approx(quality.expected_error, rel=0.5)
    assert whole[8].error < whole[1].error / 4
    assert whole[8].cosine > 1.5 * whole[1].cosine > 0


def test_only_one_slope_along_noise_is_looked_at() -> None:
    with pytest.raises(Incompatible, match="one slope"):
        estimate_quality(Subject("full", "tiny-bert").case, (1,), 1, sizes=Sizes(16, 8, 16))
    with pytest.raises(Incompatible, match="one slope"):
        estimate_quality(Subject("mezo", "tiny-bert", {"scope": "block-wise"}).case, (1,), 1, sizes=Sizes(16, 8, 16))
    with pytest.raises(BadInput, match="probes and draws"):
        estimate_quality(Subject("mezo", "tiny-bert").case, (), 1)


def test_the_picture_says_what_was_measured(found) -> None:
    info = figures.estimates(found)
    assert info.probes == (1, 8)
    assert info.layers[-1] == ALL_LAYERS
    assert info.errors == tuple(q.error for q in found if q.layer == ALL_LAYERS)
    assert "cosine" in info.alt
    assert len(info.rows()) == 2 * len(info.layers) + 2
    assert to_svg(info) == to_svg(info)
