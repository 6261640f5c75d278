"""What blocks keep is measured on each alone, and the picture says both denominators."""

from __future__ import annotations

import pytest

from workbench import figures
from workbench.case import Case
from workbench.core.errors import Incompatible
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.lens.kept_by_block import kept_by_block


@pytest.mark.parametrize("model", ["tiny-cnn", "tiny-hardswish"])
def test_every_block_keeps_less_and_the_sums_are_said(model: str) -> None:
    found = kept_by_block(Case("pixels", model, "full", 2))
    assert [k.block for k in found] == [f"blocks.{i}" for i in range(5)]
    assert all(0 < k.lean < k.shared < k.stock for k in found)
    info = figures.kept_by_block(found, "46 % less", "abstract")
    assert 0.5 < info.less[0] < 0.7 and 0.3 < info.less[1] < 0.5
    assert "abstract" in info.caption and f"{info.less[0] * 100:.1f}" in info.alt
    assert len(info.rows()) == 15 and "<svg" in to_svg(info) and len(to_plotly(info).data) == 3


def test_batches_scale_what_is_kept_but_for_statistics_of_the_batch() -> None:
    one, four = (kept_by_block(Case("pixels", "tiny-cnn", "full", batch)) for batch in (1, 4))
    for a, b in zip(one, four):
        assert b.lean - a.lean == pytest.approx(3 * a.lean, rel=0.02)


def test_other_models_are_refused() -> None:
    with pytest.raises(Incompatible, match="inverted residual"):
        kept_by_block(Case("pixels", "tiny-vit", "full", 2))
