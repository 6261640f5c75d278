"""Coupled matrices of a transformer block: inner dimensions that can be reordered without changing the function.

The rows of ``up`` and ``gate`` are the columns of ``down``; whole heads of ``q``, ``k`` and ``v`` are columns of ``o``.
Reordering both sides alike is a renaming (S2FT, Yang et al., 2024). Where several query heads share one key and value
head, the shared heads move together with all their query heads: an order of query heads alone would pair them with
keys of another head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.models.structure import blocks, role

Kind = Literal["attention", "feed-forward"]

ATTENTION, FEED_FORWARD = ("q", "k", "v", "o"), ("up", "gate", "down")

_LEAVES = {
    "q": ("query", "q_proj", "q_lin", "q"),
    "k": ("key", "k_proj", "k_lin", "k"),
    "v": ("value", "v_proj", "v_lin", "v"),
}


@dataclass(frozen=True)
class Coupled:
    """One coupled structure of one block.

    ``units`` of ``width`` channels each can be reordered: heads, or single channels of the feed-forward layer.
    ``producers`` (role to name of a linear layer) have them as rows, ``consumer`` has them as columns.
    ``per_group`` query heads share one key and value head.
    """

    kind: Kind
    block: str
    producers: Mapping[str, str]
    consumer: str
    units: int
    width: int = 1
    per_group: int = 1

    @property
    def consumer_role(self) -> str:
        return "o" if self.kind == "attention" else "down"

    @property
    def matrices(self) -> dict[str, str]:
        """Every matrix by its role."""
        return {**self.producers, self.consumer_role: self.consumer}

    def channels(self, role: str, order: Sequence[int]) -> list[int]:
        """Rows (of the consumer: columns) of the matrix of that role, in the order of these units."""
        if role in ("k", "v"):
            order = list(dict.fromkeys(unit // self.per_group for unit in order))
        return [unit * self.width + i for unit in order for i in range(self.width)]

    def led_by(self, chosen: Sequence[int]) -> list[int]:
        """All units with the chosen ones first. Chosen ones must fill every group they touch, but for the last."""
        picked = set(chosen)
        groups = list(dict.fromkeys(unit // self.per_group for unit in chosen))
        groups.sort(key=lambda g: -len(picked & set(self._members(g))))
        partial = [g for g in groups if not picked >= set(self._members(g))]
        if len(partial) > 1:
            raise ValueError(f"heads {sorted(picked)} leave {len(partial)} groups half filled")
        groups += [g for g in range(self.units // self.per_group) if g not in groups]
        return [u for g in groups for u in sorted(self._members(g), key=lambda u: u not in picked)]

    def best(self, scores: np.ndarray, count: int) -> list[int]:
        """The ``count`` units of the highest total score among those that can stand together in front."""
        groups = scores.reshape(-1, self.per_group)
        whole, rest = divmod(count, self.per_group)
        inside = np.sort(groups, axis=1)[:, ::-1][:, :rest].sum(axis=1)  # what each gives as the half-filled one
        totals = groups.sum(axis=1)
        options = []
        for half in range(len(groups)) if rest else (None,):
            others = [g for g in np.argsort(-totals, kind="stable") if g != half][:whole]
            worth = totals[others].sum() + (inside[half] if half is not None else 0.0)
            options.append((worth, others, half))
        _, full, half = max(options, key=lambda option: option[0])
        chosen = [u for g in sorted(full) for u in self._members(int(g))]
        if half is not None:
            first = np.argsort(-groups[half], kind="stable")[:rest]
            chosen += [half * self.per_group + int(i) for i in sorted(first)]
        return chosen

    def at_random(self, count: int, generator: np.random.Generator) -> list[int]:
        """``count`` units drawn so that they can stand together in front; every unit is as likely as any other."""
        groups = generator.permutation(self.units // self.per_group)
        units = [int(u) for g in groups for u in generator.permutation(self._members(int(g)))]
        return units[:count]

    def _members(self, group: int) -> range:
        return range(group * self.per_group, (group + 1) * self.per_group)


def coupled(model: nn.Module) -> list[Coupled]:
    """Every coupled structure of the model's blocks, in forward order.

    Raises ``Incompatible`` naming the block where the matrices cannot be told apart (fused projections, experts).
    """
    found = blocks(model)
    made = [c for name, block in found for c in (_attention(model, name, block), _feed_forward(name, block))]
    if not made:
        raise Incompatible("method", "s2ft", "the model has no repeated blocks with attention heads")
    return made


def reorder(model: nn.Module, structure: Coupled, order: Sequence[int]) -> None:
    """Put the units into this order, in place: position ``i`` gets what was at ``order[i]``."""
    for kind, name in structure.matrices.items():
        module, axis = model.get_submodule(name), int(kind == structure.consumer_role)
        places = torch.tensor(structure.channels(kind, order), device="cpu")
        _permute(module.weight, axis, places)  # type: ignore[arg-type]
        if axis == 0 and getattr(module, "bias", None) is not None:
            _permute(module.bias, 0, places)  # type: ignore[arg-type]


@torch.no_grad()
def _permute(tensor: Tensor, axis: int, places: Tensor) -> None:
    tensor.copy_(tensor.index_select(axis, places))


def _linears(block: str, module: nn.Module, wanted: Sequence[str]) -> Iterator[tuple[str, nn.Linear]]:
    for name, inner in module.named_modules():
        if isinstance(inner, nn.Linear) and role(name, inner) in wanted:
            yield f"{block}.{name}", inner


def _attention(model: nn.Module, block: str, module: nn.Module) -> Coupled:
    linears = dict(_linears(block, module, ("attention",)))
    named = {r: [n for n in linears if n.rpartition(".")[2] in leaves] for r, leaves in _LEAVES.items()}
    others = [n for n in linears if not any(n in names for names in named.values())]
    if any(len(names) != 1 for names in named.values()) or len(others) != 1:
        reason = f"the attention of {block} has no separate query, key, value and output layers to permute"
        raise Incompatible("method", "s2ft", reason)
    producers, consumer = {r: names[0] for r, names in named.items()}, others[0]
    config = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", 0)
    shared = getattr(config, "num_key_value_heads", None) or heads
    inner = linears[consumer].in_features
    fits = heads and inner % heads == 0 and heads % shared == 0
    sizes = [linears[producers[r]].out_features for r in ("q", "k", "v")]
    if not fits or sizes != [inner, inner // heads * shared, inner // heads * shared]:
        raise Incompatible("method", "s2ft", f"the attention of {block} does not divide into the heads it declares")
    return Coupled("attention", block, producers, consumer, heads, inner // heads, heads // shared)


def _feed_forward(block: str, module: nn.Module) -> Coupled:
    down = list(_linears(block, module, ("projection",)))
    wide = list(_linears(block, module, ("expansion",)))
    matching = len(down) == 1 and all(inner.out_features == down[0][1].in_features for _, inner in wide)
    gates = [name for name, _ in wide if "gate" in name.rpartition(".")[2]]
    ups = [name for name, _ in wide if name not in gates]
    if not matching or len(ups) != 1 or len(gates) > 1:
        reason = f"the feed-forward part of {block} is not one layer up, at most one gate, and one layer down"
        raise Incompatible("method", "s2ft", reason)
    producers = {"up": ups[0], **({"gate": gates[0]} if gates else {})}
    return Coupled("feed-forward", block, producers, down[0][0], down[0][1].in_features)
