"""Five papers that shorten what the backward pass keeps, on one model each: arms, their lazy variants, plain baselines.

Every arm makes as many steps. Each has the best rate of a grid of its own, by its score on training examples set aside
and with a seed that no result uses (``benchmarks/lean_backward.py --part rates``); the test set played no part. So has
SlimFit with each share of frozen layers, and where chance freezes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.studies.lean_transformers import FROM_RANDOM, PRETRAINED, equal_channels, rated_way

if TYPE_CHECKING:
    from workbench.bench import Bench

FROZEN = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95)  #: shares of layers that SlimFit freezes
FEW_FROZEN = (0.0, 0.9)
BLOCKS = (1, 3, 5)  #: blocks that MobileTL and the plain last blocks train
FEW_BLOCKS = (3,)
#: Task and model of each half of the page: ``quick`` needs no download.
TRANSFORMERS = {"quick": ("digits", "tiny-vit"), "": ("movie-sentiment", "minilm")}
CONVOLUTIONS = {"quick": ("digits", "tiny-cnn"), "": ("fashion-mnist", "efficientnet-lite0")}
SEEDS = {"quick": (0,), "": (0, 1, 2)}  #: by profile; one shows what the page says, three what is told apart
RHO = 0.7  #: operations of a step as a share of full tuning's, for tensors chosen by worth and by chance
#: Rates on convolutional nets, see :func:`workbench.studies.lean_transformers.rated_way`.
CONVOLUTIONAL = {
    "mobile-tl": 0.003,
    "mobile-tl blocks=3": 0.001,
    "mobile-tl blocks=5": 0.001,
    "sparse-update": 0.001,
    "int8-training": 0.01,
    "full": 0.003,
    "lora": 0.001,
    "bias": 0.003,
    "head": 0.03,
    "last-blocks": 0.003,
    "last-blocks blocks=5": 0.001,
    "checkpointing": 0.003,
    "green-trainer": 0.003,
    "green-trainer select=random": 0.01,
}
#: Of a small net that has left its factory.
FROM_FACTORY = {
    "mobile-tl": 0.003,
    "mobile-tl blocks=3": 0.01,
    "sparse-update": 0.003,
    "int8-training": 0.1,
    "full": 0.003,
    "lora": 0.01,
    "bias": 0.03,
    "head": 0.01,
    "last-blocks": 0.01,
    "checkpointing": 0.003,
    "green-trainer": 0.01,
    "green-trainer select=random": 0.01,
}


@dataclass(frozen=True)
class Arms:
    """Ways of tuning, as methods with settings. ``lazy`` are only predicted: their bytes give them away."""

    papers: tuple[str, ...]
    plain: tuple[str, ...]
    lazy: tuple[str, ...]

    @property
    def trained(self) -> tuple[str, ...]:
        return (*self.papers, *self.plain)


def opened(profile: str, places: dict[str, tuple[str, str]], **options: Any) -> Bench:
    """A bench for one half of the page; ``places`` is ``TRANSFORMERS`` or ``CONVOLUTIONS``."""
    import workbench as wb

    task, model = places.get(profile, places[""])
    if profile == "quick":  # two dozen arms within a minute
        options = {"epochs": 1, "train": 192, **options}
    return wb.open(task, model, profile=profile, **options)


def seeds_of(profile: str) -> list[int]:
    return list(SEEDS.get(profile, SEEDS[""]))


def places(*benches: Bench) -> dict[str, str]:
    """What the page is about, for its list of parameters."""
    return {f"{bench.task} on {bench.model}": f"batch {bench.case('full').batch}" for bench in benches}


def slimfit_ways(bench: Bench, shares: Sequence[float] = FROZEN) -> tuple[str, ...]:
    """SlimFit with each share of frozen layers, each at a rate of its own; shares without one take SlimFit's."""
    return tuple(rated_way(_rates(bench), f"slimfit frozen={share:g}") for share in shares)


def transformer_arms(bench: Bench, shares: Sequence[float] = ()) -> Arms:
    """SlimFit, S2FT and GreenTrainer beside adapters, biases, the last blocks, recomputing and tensors by chance."""
    rank = 8 if _pretrained(bench) else 2
    rated = partial(rated_way, _rates(bench))
    slices, green = rated(f"s2ft channels={equal_channels(bench, rank)}"), f"green-trainer rho={RHO:g}"
    slim = slimfit_ways(bench, shares or (FROZEN if _pretrained(bench) else FEW_FROZEN))
    plain = ("full", f"lora r={rank}", "bias", "last-blocks blocks=2", "checkpointing", f"{green} select=random")
    return Arms(
        (*slim, slices, rated(green)),
        (*map(rated, plain), rated(f"{_without_rate(slim[-1])} select=random")),
        (f"{slim[-1]} packed=false", f"{slim[-1]} gradients=all", f"{slices} compute=mask"),
    )


def convolution_arms(bench: Bench, blocks: Sequence[int] = ()) -> Arms:
    """MobileTL, sparse updates, and int8 training beside adapters, biases, the last blocks and tensors by chance."""
    blocks = blocks or (BLOCKS if _pretrained(bench) else FEW_BLOCKS)
    middle, green = blocks[len(blocks) // 2], f"green-trainer rho={RHO:g}"
    rated = partial(rated_way, FROM_FACTORY if bench.model.startswith("path:") else CONVOLUTIONAL)
    papers = (*(f"mobile-tl blocks={count}" for count in blocks), "sparse-update", "int8-training", green)
    plain = (
        *("full", "lora", "bias", "head"),
        *(f"last-blocks blocks={count}" for count in blocks),
        *(f"last-blocks blocks={middle} statistics=moving", "mobile-tl blocks=0", "checkpointing"),
        f"{green} select=random",
    )
    lazy = (
        f"{rated(f'mobile-tl blocks={middle}')} compute=requires-grad",
        f"{rated('sparse-update')} gradients=all",
        "int8-training update=all graph=fake",
    )
    return Arms(tuple(map(rated, papers)), tuple(map(rated, plain)), lazy)


def _without_rate(way: str) -> str:
    return " ".join(word for word in way.split() if not word.startswith("lr="))


def _pretrained(bench: Bench) -> bool:
    from workbench.models import resolve

    return bool(resolve(bench.model).asset)


def _rates(bench: Bench) -> dict[str, float]:
    return PRETRAINED if _pretrained(bench) else FROM_RANDOM
