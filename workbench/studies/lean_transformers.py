"""Slices and chosen tensors of a transformer against adapters: the arms of one comparison, at equal terms.

Equal terms are as many trained numbers for slices and adapters, and as many operations for every way of choosing
tensors. Learning rates of MiniLM were taken from a grid of three to four for each method and way of choosing, on a
seed that no result uses; where a way is not named, it takes its method's. Every other pretrained model takes MiniLM's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.core.errors import BadInput
from workbench.core.spelling import parsed_way

if TYPE_CHECKING:
    from workbench.ablate import Progress
    from workbench.bench import Bench
    from workbench.records.schema import RunRecord

NOT_COUNTED = "not counted: integers"
QUICK = {"task": "digits", "model": "tiny-vit"}  #: needs no download
#: Learning rates by kind of start: a pretrained model, or random weights that have further to go.
PRETRAINED = {
    "full": 1e-4, "lora": 3e-3, "s2ft": 5e-3, "green-trainer": 1e-3, "bias": 2e-3, "last-blocks": 1e-3,
    "checkpointing": 1e-4, "slimfit": 3e-4, "slimfit frozen=0": 1e-4, "slimfit frozen=0.3": 1.3e-4,
    "slimfit frozen=0.8": 3.3e-4, "slimfit frozen=0.9": 1e-3, "slimfit frozen=0.95": 9.5e-4,
    "slimfit frozen=0.95 select=random": 9.5e-4,
}  # fmt: skip
FROM_RANDOM = {
    "full": 1e-3, "lora": 3e-3, "s2ft": 1e-2, "green-trainer": 3e-4, "green-trainer select=random": 3e-2,
    "bias": 3e-3, "last-blocks": 3e-3, "checkpointing": 1e-3,
    "slimfit": 3e-3, "slimfit frozen=0": 1e-3, "slimfit frozen=0.9": 1e-3, "slimfit frozen=0.95 select=random": 1e-3,
}  # fmt: skip


@dataclass(frozen=True)
class Arms:
    """The ways of tuning, as methods with settings. ``lazy`` are only predicted: their bytes give them away."""

    slices: tuple[str, ...]
    lazy: tuple[str, ...]
    tensors: tuple[str, ...]
    channels: float


def opened(profile: str, task: str = "", model: str = "", held_out: str = "", **options: Any) -> Bench:
    """A bench on a transformer: the quick profile's own is a small one on digits, of which nothing is pretrained."""
    import workbench as wb

    if profile == "quick" and not options.get("epochs"):  # sixteen runs within a minute
        options["epochs"] = 2
    if profile == "quick" and not model:
        return wb.open(task or QUICK["task"], QUICK["model"], profile=profile, held_out=held_out, **options)
    bench = wb.open(task, model, profile=profile, **options)
    if not held_out and bench.task == "movie-sentiment":
        held_out = "newsgroups"
    return wb.open(task, model, profile=profile, held_out=held_out, **options)


def seeds_of(profile: str) -> list[int]:
    """Two are quick, three can tell arms apart."""
    return [0, 1] if profile == "quick" else [0, 1, 2]


def arms(bench: Bench, rank: int = 0, rhos: Sequence[float] = (0.5, 0.7)) -> Arms:
    """The arms on this bench; slices train as many numbers as LoRA of this rank (0: 8, or 2 on a tiny model)."""
    from workbench.models import resolve

    pretrained = bool(resolve(bench.model).asset)
    rates, rank = PRETRAINED if pretrained else FROM_RANDOM, rank or (8 if pretrained else 2)
    share, first = equal_channels(bench, rank), min(rhos)
    rated = partial(rated_way, rates)
    slices, shared = rated(f"s2ft channels={share}"), (rated("full"), rated(f"lora r={rank}"))
    return Arms(
        (*shared, slices, rated(f"s2ft channels={share} select=activation spread=even")),
        (f"{slices} compute=mask", f"{slices} compute=delta"),
        (
            *shared,
            *(rated(f"green-trainer rho={rho:g}") for rho in rhos),
            *(rated(f"green-trainer rho={first:g} select={select}") for select in ("random", "last")),
        ),
        share,
    )


def rated_way(rates: Mapping[str, float], way: str) -> str:
    """``way`` with its own rate of ``rates``, else that of its method with its way of selecting, else its method's."""
    method, *settings = way.split()
    selecting = " ".join([method, *(s for s in settings if s.startswith("select="))])
    rate = next(rates[name] for name in (way, selecting, method) if name in rates)
    return " ".join([method, f"lr={rate:g}", *settings])


def equal_channels(bench: Bench, rank: int) -> float:
    """The share of feed-forward channels whose slices hold as many numbers as LoRA of this rank trains."""
    wanted = trained_numbers(bench, "lora", r=rank)
    low, high = 0.0, 1.0
    if trained_numbers(bench, "s2ft", channels=1.0) < wanted:
        raise BadInput("rank", rank, "a rank whose adapters are smaller than all feed-forward output weights")
    for _ in range(14):
        middle = (low + high) / 2
        if trained_numbers(bench, "s2ft", channels=middle) < wanted:
            low = middle
        else:
            high = middle
    exactly = trained_numbers(bench, "s2ft", channels=high)
    shorter = (float(f"{high:.{digits}g}") for digits in range(2, 9))
    return next((s for s in shorter if trained_numbers(bench, "s2ft", channels=s) == exactly), high)


def trained_numbers(bench: Bench, method: str, **settings: Any) -> int:
    """How many numbers train, integers of an integer net included, from shapes alone."""
    case = bench.case(method, **settings)
    trained = case.step(case.attached(device="meta", weights=False)).parameters
    return sum(getattr(p, "stands_for", p.numel()) for p in trained)


def trained(
    bench: Bench,
    ways: Sequence[str],
    seeds: Sequence[int],
    *,
    observe: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> list[RunRecord]:
    """Every way with every seed, for as many steps each; what does not fit the budget runs as a reference."""
    found = []
    for way in ways:
        method, settings = parsed_way(way)
        axes: Mapping[str, Sequence[Any]] = {
            "method": [method], "seed": list(seeds), **{name: [value] for name, value in settings.items()},
        }  # fmt: skip
        found += bench.ablate(axes, observe=observe, cancel=cancel, reference=(method,))
    return found


def kept_and_computed(bench: Bench, ways: Sequence[str]) -> list[dict[str, Any]]:
    """What a step of each way keeps and computes, predicted: rows of a table.

    Products of integers are no floating-point operations; a way that has them says ``NOT_COUNTED`` instead.
    """
    from workbench.core.profile import Category
    from workbench.core.units import format_size
    from workbench.predictions import flops_by_phase

    rows = []
    for way in ways:
        method, settings = parsed_way(way)
        case = bench.case(method, **settings)
        profile, flops, integer = case.predict(), flops_by_phase(case), case.device_bytes() is not None
        size = lambda category: format_size(profile.by_category.get(category, 0))  # noqa: B023, E731
        rows.append(
            {
                "way": way,
                "trained numbers": f"{trained_numbers(bench, method, **settings):,}",
                "kept for backward": format_size(profile.saved),
                "gradients": size(Category.GRADIENTS),
                "optimizer state": size(Category.OPTIMIZER),
                "peak": format_size(profile.peak),
                "forward GFLOP": NOT_COUNTED if integer else f"{flops['forward'] / 1e9:.4g}",
                "backward GFLOP": NOT_COUNTED if integer else f"{flops['backward'] / 1e9:.4g}",
            }
        )
    return rows
