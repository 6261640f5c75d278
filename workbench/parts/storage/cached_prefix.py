"""Compute the frozen prefix once per example and keep what it gives, in memory or in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from workbench.nn.prefix_cache import PrefixCache
from workbench.parts.storage.narrow_prefix import settled_prefix


@dataclass(frozen=True)
class CachedPrefix:
    """The first epoch costs what it costs without; later ones start at the first trained block.

    The prefix runs in evaluation mode, which is a change of the method. ``ram`` takes ``examples`` rows at the
    first step, so that the peak does not grow during a run; ``disk`` keeps them in the user's cache, where the next
    run finds them. Rows are found by the content of the example's inputs and of the prefix itself.
    """

    place: Literal["ram", "disk"]
    examples: int

    def encode(self, model: nn.Module) -> nn.Module:
        found = settled_prefix(model, "prefix_cache", self.place)
        cache = PrefixCache(found.modules, self.place, self.examples)
        model.add_module("pintpot_prefix_cache", cache)
        cache.serve(model)
        return model
