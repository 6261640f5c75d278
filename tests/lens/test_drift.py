"""Copies leave every bit; the walk in place drifts by rounding, in bfloat16 by much more than in float32."""

from __future__ import annotations

import pytest

from workbench.core.errors import BadInput
from workbench.lens.drift import drift
from workbench.testing import Subject


def test_only_the_walk_drifts() -> None:
    found = {(d.numbers, d.way, d.probes): d for d in drift(Subject("mezo", "tiny-llama").case, (2, 40))}
    assert len(found) == 8
    for (_, way, _), one in found.items():
        assert (one.relative == 0.0 == one.changed) == (way == "perturbed copies")
    assert 1e-8 < found["float32", "walk in place", 40].relative < 1e-5
    assert found["bfloat16", "walk in place", 40].relative > 1e-3
    assert found["float32", "walk in place", 40].relative > found["float32", "walk in place", 2].relative
    with pytest.raises(BadInput, match="probes"):
        drift(Subject("mezo", "tiny-llama").case, ())
