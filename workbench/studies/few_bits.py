"""What the page on few bits runs in each profile, and what it asks about flips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import UnknownName
from workbench.lens.code_flips import Flips, code_flips
from workbench.studies.quantized_arms import (
    ARMS,
    Outcome,
    float_model,
    held_out_loss,
    quantized_arms,
    quantized_session,
)

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.bench import Bench

LIGHT, LAZY, THROUGH = "ZeroQAT light", "lazy: rounded weights", "straight-through QAT"
BLOCKS = 1  #: deepest blocks that the light variant trains here


@dataclass(frozen=True)
class Preset:
    """``start`` is steps and rate of the float model that all arms start from; ``rates`` the grids of what trains."""

    task: str
    model: str
    batch: int
    train: int
    test: int
    start: tuple[int, float]
    steps: int
    bits: tuple[int, ...]
    seeds: tuple[int, ...]
    rates: Mapping[str, tuple[float, ...]]
    draws: int


_TINY = {"ZeroQAT": (3e-5,), LIGHT: (3e-5,), THROUGH: (3e-4,), LAZY: (3e-5,)}
_MINILM = {"ZeroQAT": (1e-6, 3e-6), LIGHT: (3e-6, 1e-5), THROUGH: (3e-5, 1e-4), LAZY: (3e-6,)}
PRESETS: Mapping[str, Preset] = {
    "quick": Preset("docstring-topic", "tiny-bert", 8, 160, 80, (40, 2e-3), 12, (4, 2), (0,), _TINY, 3),
    "standard": Preset("movie-sentiment", "tiny-bert", 16, 800, 400, (80, 1e-3), 150, (4, 3, 2), (0, 1, 2), _TINY, 16),
    "full": Preset("movie-sentiment", "minilm", 8, 800, 500, (100, 5e-5), 2000, (4, 3, 2), (0, 1, 2), _MINILM, 16),
}


def preset(name: str) -> Preset:
    """The preset called ``name``; raises ``UnknownName``."""
    if name not in PRESETS:
        raise UnknownName("profile", name, PRESETS)
    return PRESETS[name]


def bench_for(chosen: Preset) -> Bench:
    """The bench on which all arms stand, without a budget: this page is about bits."""
    from workbench.bench import open as opened

    return opened(
        chosen.task, chosen.model, budget="64 GiB", batch=chosen.batch, train=chosen.train, test=chosen.test
    )  # fmt: skip


def start_of(bench: Bench, chosen: Preset) -> dict[str, Tensor]:
    """The float weights that every arm starts from; seeds of the arms move order and noise alone."""
    return float_model(bench, 0, *chosen.start)


def float_loss(bench: Bench, start: Mapping[str, Tensor]) -> float:
    """Held-out loss before anything is rounded: at 16 bits, which is within 1e-4 of it."""
    wide = {"weight_bits": 16, "activation_bits": 16, "scales": "moving"}
    return held_out_loss(quantized_session(bench, start, 0, 1, **wide))


def arms_of(
    bench: Bench,
    chosen: Preset,
    start: Mapping[str, Tensor],
    bits: Sequence[int] = (),
    seeds: Sequence[int] = (),
    *,
    progress: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Every arm of the preset at every width, with every seed; ``bits`` and ``seeds`` empty: the preset's."""
    starts = dict.fromkeys(seeds or chosen.seeds, start)
    widths = tuple(bits or chosen.bits)
    return quantized_arms(
        bench, starts, widths, chosen.steps, rates=chosen.rates, light=BLOCKS, progress=progress
    )  # fmt: skip


def flips_of(
    bench: Bench, chosen: Preset, start: Mapping[str, Tensor], bits: Sequence[int], eps: Sequence[float]
) -> list[tuple[int, str, Flips]]:
    """(bits, scales, flips) for ranges that are learned, fixed, and fixed with rounded weights, on one batch."""
    found = []
    for width in bits:
        for scales in ("learned", "fixed", "rounded"):
            session = quantized_session(bench, start, 0, 1, weight_bits=width, scales=scales)
            case = session.case
            batch = next(case.task.batches(session.data, case.spec, case.batch, 0))
            found += [(width, scales, f) for f in code_flips(session.training, batch, eps, chosen.draws)]
    return found


def count_of(chosen: Preset, bits: Sequence[int] = ()) -> int:
    """How many arms :func:`arms_of` tells of."""
    return len(ARMS) * len(bits or chosen.bits)
