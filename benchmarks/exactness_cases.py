"""Which cases the page of exactness asks about: models and their shapes, methods, rules, levers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from workbench.case import Case
from workbench.core.errors import BadInput
from workbench.methods.base import methods
from workbench.testing.subject import FITTING

#: Task and three shapes (batch, tokens or pixels a side) of each model; small where its steps are long.
SHAPES: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    "tiny-bert": ("tokens", ((1, 8), (4, 32), (7, 100))),
    "tiny-llama": ("tokens", ((1, 8), (4, 32), (7, 100))),
    "tiny-cnn": ("pixels", ((1, 16), (4, 16), (16, 24))),
    "tiny-vit": ("pixels", ((1, 16), (4, 16), (16, 16))),
    "tiny-sensor": ("pixels", ((1, 100), (4, 64), (16, 100))),
    "tiny-hardswish": ("pixels", ((1, 16), (4, 16), (16, 24))),
    "tiny-denoiser": ("new-digit", ((1, 8), (4, 8), (16, 8))),
    "small-denoiser": ("new-garment", ((1, 28), (4, 28), (16, 28))),
    "mcu-net": ("pixels", ((1, 28), (4, 32), (16, 28))),
    "mcu-watch": ("pixels", ((1, 100), (4, 64), (16, 100))),
    "minilm": ("tokens", ((1, 16), (4, 64), (8, 128))),
    "efficientnet-lite0": ("pixels", ((1, 64), (4, 96), (8, 96))),
    "dinov2-small": ("pixels", ((1, 70), (4, 70), (2, 98))),
    "smollm2": ("tokens", ((1, 8), (1, 32), (2, 24))),
}
TINY = tuple(name for name in SHAPES if name.startswith("tiny"))

#: Levers, gradient accumulation and padding: what is asked beside a method's defaults, by the name in the log.
LEVERS: dict[str, dict[str, Any]] = {
    "weights=bf16": {"weights": "bf16"},
    "weights=frozen-bf16": {"weights": "frozen-bf16"},
    "weights=nf4": {"weights": "nf4"},
    "saved=bf16": {"saved": "bf16"},
    "saved=int8": {"saved": "int8"},
    "saved=static": {"saved": "static"},
    "bit_masks": {"bit_masks": True},
    "channels_last": {"channels_last": True},
    "chunked_loss=16": {"chunked_loss": 16},
    "recompute=1": {"recompute": 1},
    "recompute=2": {"recompute": 2},
    "update_in_backward": {"update_in_backward": True},
    "recompute=1+update_in_backward": {"recompute": 1, "update_in_backward": True},
    "weights=frozen-bf16+saved=int8": {"weights": "frozen-bf16", "saved": "int8"},
    "accumulate=2": {"accumulate": 2},
    "padded": {"padded": True},
    "padded+accumulate=2": {"padded": True, "accumulate": 2},
}
LEVER_METHODS = ("full", "lora", "last-blocks", "mezo")
_OURS = ("accumulate", "padded")


class Asked(NamedTuple):
    model: str
    method: str
    optimizer: str
    batch: int
    length: int
    lever: str = ""

    @property
    def key(self) -> str:
        lever = f" {self.lever}" if self.lever else ""
        return f"{self.model} {self.method} {self.optimizer} {self.batch}x{self.length}{lever}"

    def case(self) -> Case:
        asked = LEVERS.get(self.lever, {})
        settings = {**(FITTING.get(self.method, {}) if self.model in TINY else {}), "optimizer": self.optimizer}
        settings |= {k: v for k, v in asked.items() if k not in _OURS}
        count = asked.get("accumulate", 1)
        names = SHAPES[self.model][0], self.model, self.method
        padded = asked.get("padded", False)
        return Case(*names, self.batch, self.length, count, settings=settings, padded=padded)

    def served(self) -> bool:
        """Whether the method says that it serves the model with this rule."""
        try:
            return self.case().refusal() is None
        except BadInput:  # a method that brings its own rule takes no other
            return False


def asked(models: list[str], given: argparse.Namespace) -> Iterator[Asked]:
    """Every combination, one shape of everything before the next."""
    chosen = [m for m in given.methods.split(",") if m] or (LEVER_METHODS if given.levers else methods.names())
    for shape in range(given.shapes):
        for optimizer in given.optimizers.split(","):
            for model in models:
                for method in chosen:
                    for lever in LEVERS if given.levers else ("",):
                        if "padded" in lever and SHAPES[model][0] != "tokens":
                            continue
                        yield Asked(model, method, optimizer, *SHAPES[model][1][shape], lever)
