"""Find the blocks, the head and the embeddings of any model by its structure, not by its name."""

from __future__ import annotations

from torch import nn

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
