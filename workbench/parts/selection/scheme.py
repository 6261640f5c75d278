"""An update scheme: biases of some blocks, chosen weights of fewer, nothing else (PockEngine, Zhu et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from workbench.core.errors import BadInput, UnknownName
from workbench.models.structure import blocks, head, role
from workbench.nn.sliced_linear import SlicedConv2d, SlicedLinear


@dataclass(frozen=True)
class Scheme:
    """Biases of the deepest ``bias_blocks`` blocks, weights of some roles in the deepest ``weight_blocks``, the head.

    ``roles`` are those of :func:`workbench.models.structure.role`. ``tensors`` names parameters instead of all that,
    as a search over schemes does. Of each chosen weight the first ``channels`` of its input channels train, as a share;
    depthwise filters train whole. A tied head stays frozen, since its weight is the embedding's.
    """

    bias_blocks: int = 3
    weight_blocks: int = 2
    roles: tuple[str, ...] = ("attention", "expansion")
    tensors: tuple[str, ...] = field(default=())
    channels: float = 1.0

    def attach(self, model: nn.Module) -> nn.Module:
        known = dict(model.named_parameters())
        chosen = self._named(known) if self.tensors else self._deepest(model, known)
        output = head(model)
        embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        wanted = {id(known[name]) for name in chosen}
        wanted |= {id(p) for p in output[1].parameters()} if output else set()
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in wanted - embeddings)
        if self.channels < 1:
            self._slice(model, chosen)
        return model

    def _slice(self, model: nn.Module, chosen: set[str]) -> None:
        for owner in sorted(name.removesuffix(".weight") for name in chosen if name.endswith(".weight")):
            module = model.get_submodule(owner)
            if isinstance(module, nn.Linear):
                sliced: nn.Module = SlicedLinear(module, max(1, round(self.channels * module.in_features)))
            elif isinstance(module, nn.Conv2d) and module.groups == 1:
                sliced = SlicedConv2d(module, max(1, round(self.channels * module.in_channels)))
            else:
                continue
            parent, _, leaf = owner.rpartition(".")
            setattr(model.get_submodule(parent), leaf, sliced)

    def _named(self, known: Mapping[str, nn.Parameter]) -> set[str]:
        for name in self.tensors:
            if name not in known:
                raise UnknownName("sparse-update.tensors", name, known)
        return set(self.tensors)

    def _deepest(self, model: nn.Module, known: Mapping[str, nn.Parameter]) -> set[str]:
        found = blocks(model)
        for field_name in ("bias_blocks", "weight_blocks"):
            count = getattr(self, field_name)
            if not 0 <= count <= len(found):
                expected = f"a whole number from 0 to {len(found)} for this model"
                raise BadInput(f"sparse-update.{field_name}", count, expected)
        biased = [name for name, _ in found[len(found) - self.bias_blocks :]]
        chosen = {n for n in known if n.endswith(".bias") and any(n.startswith(f"{b}.") for b in biased)}
        for block, module in found[len(found) - self.weight_blocks :]:
            inside = [(f"{block}.{n}", m) for n, m in module.named_modules() if n]
            chosen |= {f"{n}.weight" for n, m in inside if role(n.removeprefix(f"{block}."), m) in self.roles}
        return chosen & set(known)
