"""Find the blocks, the head and the embeddings of any model by its structure, not by its name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import nn

from workbench.core.errors import BadInput

HEAD_NAMES = ("classifier", "score", "head", "fc", "lm_head", "_fc")


def blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The repeated blocks in forward order: the members of the list that holds most parameters.

    Works for any transformer (``encoder.layer``, ``model.layers``) and for convolutional nets that keep
    their stages in a ``ModuleList`` or a ``Sequential`` of at least two children.
    """
    best: tuple[int, list[tuple[str, nn.Module]]] = (0, [])
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) >= 2:
            children = [(f"{name}.{i}" if name else str(i), m) for i, m in module.named_children()]
            size = sum(p.numel() for p in module.parameters())
            # A list nested in a larger one (a Sequential inside a block) never holds more than its parent.
            if size > best[0]:
                best = (size, children)
    return best[1]


def head(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The output layer: the shallowest module with a customary head name."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in HEAD_NAMES and any(True for _ in module.parameters())
    ]
    return min(found, key=lambda item: item[0].count("."), default=None)


def upper(model: nn.Module, count: int, field: str = "blocks") -> set[int]:
    """Identities of the parameters in the deepest ``count`` blocks, after the last block and in the head.

    Embeddings are not among them, so neither is a head that is tied to one. Raises ``BadInput`` naming ``field``.
    """
    found = blocks(model)
    if not 0 <= count <= len(found):
        raise BadInput(field, count, f"a whole number from 0 to {len(found)} for this model")
    chosen = [module for _, module in found[len(found) - count :]]
    output = head(model)
    chosen += [output[1]] if output else []
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    return ({id(p) for module in chosen for p in module.parameters()} | _after(model, found)) - embeddings


def _after(model: nn.Module, found: list[tuple[str, nn.Module]]) -> set[int]:
    """Parameters defined after the last block (a final norm, a last convolution)."""
    if not found:
        return set()
    last = found[-1][0] + "."
    names = [n for n, _ in model.named_parameters()]
    inside = [i for i, n in enumerate(names) if n.startswith(last)]
    if not inside:
        return set()
    return {id(p) for i, (_, p) in enumerate(model.named_parameters()) if i > inside[-1]}


def role(name: str, module: nn.Module) -> str:
    """What a linear or convolution does inside its block, read off its path and shape.

    ``attention``: it stands in an attention module; ``depthwise``: each channel has its own filter;
    ``expansion``: more outputs than inputs (the first layer of a feed-forward block, the first pointwise
    convolution of an inverted residual); ``projection``: every other. Empty for modules that have no such weight.
    """
    if isinstance(module, nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    elif isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.groups > 1:
            return "depthwise"
        inputs, outputs = module.in_channels, module.out_channels
    else:
        return ""
    if any(word in part for part in name.split(".") for word in ("attn", "attention")):
        return "attention"
    return "expansion" if outputs > inputs else "projection"


@dataclass(frozen=True)
class Prefix:
    """The frozen lower part of a model: what runs before the first block that trains anything.

    ``stem`` are the modules with parameters in front of the blocks (embeddings, first convolutions), ``blocks``
    the blocks of which nothing trains and below which nothing trains; both in forward order.
    """

    stem: tuple[nn.Module, ...]
    blocks: tuple[nn.Module, ...]

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return self.stem + self.blocks


def prefix(model: nn.Module) -> Prefix | None:
    """The frozen prefix, or ``None`` where the stem or the first block trains.

    Something that trains and is added to the input elsewhere (virtual tokens) is not seen here: whoever uses the
    prefix must make sure that its output requires no gradient.
    """
    found = blocks(model)
    frozen = list(itertools.takewhile(lambda block: not _trains(block), (module for _, module in found)))
    if not frozen:
        return None
    stem: list[nn.Module] = []
    parent = model
    for name in found[0][0].split(".")[:-1]:
        for child, module in parent.named_children():
            if child == name:
                break
            if any(isinstance(m, nn.Embedding) or m._parameters for m in module.modules()):
                stem.append(module)
        parent = getattr(parent, name)
    return None if any(map(_trains, stem)) else Prefix(tuple(stem), tuple(frozen))


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())
