"""What a tuned co-permuted model leaves behind: a plain checkpoint, or a small adapter of channels and their values.

The values of the trained channels are kept, not their difference to the base: in floating point ``base + (tuned -
base)`` is not always ``tuned``, and writing the values is exact to the bit. An adapter names channels of the original
order, so it needs no permutation to be put on a plain model, and adapters on other channels stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from workbench.core.errors import BadInput
from workbench.models.coupled import Coupled, reorder
from workbench.nn.extra_product import ExtraProduct

ORDER = "unit_order"  #: buffer of a consumer: the original unit at each position


@dataclass(frozen=True)
class Slices:
    """The first ``count`` units of a structure train, in the matrices ``cut`` (role to name)."""

    structure: Coupled
    count: int
    cut: Mapping[str, str]
    order: Sequence[int] = field(default=(), compare=False, repr=False)

    def channels(self, role: str) -> int:
        """How many channels of the matrix of that role train."""
        return len(self.structure.channels(role, range(self.count)))


def keep_slices(model: nn.Module, slices: Sequence[Slices]) -> None:
    """Note on the model what was cut; each order becomes a buffer, so that whoever restores tensors restores it."""
    model.pintpot_slices = tuple(slices)  # type: ignore[assignment]
    for one in slices:
        order = torch.tensor(list(one.order), dtype=torch.int32)
        model.get_submodule(one.structure.consumer).register_buffer(ORDER, order, persistent=False)


def slices_of(model: nn.Module) -> tuple[Slices, ...]:
    """What was cut of an attached model."""
    return model.pintpot_slices  # type: ignore[return-value]


def order_of(model: nn.Module, one: Slices) -> list[int]:
    """The original unit at each position."""
    return list(getattr(model.get_submodule(one.structure.consumer), ORDER).tolist())


def put_in_order(model: nn.Module, one: Slices, wanted: Sequence[int], here: Sequence[int] | None = None) -> None:
    """Reorder the structure until the original unit ``wanted[i]`` stands at position ``i``.

    ``here`` is the present order for those who cannot read it off the model.
    """
    place = {unit: i for i, unit in enumerate(here or order_of(model, one))}
    reorder(model, one.structure, [place[unit] for unit in wanted])
    buffer = getattr(model.get_submodule(one.structure.consumer), ORDER)
    buffer.copy_(torch.tensor(list(wanted), dtype=torch.int32))


def adapter_of(model: nn.Module) -> dict[str, Tensor]:
    """``<matrix>.channels`` (original places, int32) and ``<matrix>.values`` of every slice, and what else trained.

    Values have the trained channels outermost: rows of a producer, columns of a consumer. ``<consumer>.units`` are the
    heads or channels that stand in front.
    """
    state: dict[str, Tensor] = {}
    for one in slices_of(model):
        order = order_of(model, one)
        chosen = order[: one.count]
        state[f"{one.structure.consumer}.units"] = torch.tensor(chosen, dtype=torch.int32)
        for role, name in one.cut.items():
            places = one.structure.channels(role, order)[: one.channels(role)]
            state[f"{name}.channels"] = torch.tensor(places, dtype=torch.int32)
            state[f"{name}.values"] = _outermost(model.get_submodule(name), one, role)[: len(places)].clone()
    cut = {name for one in slices_of(model) for name in one.cut.values()}
    others = [n for n, p in model.named_parameters() if p.requires_grad and n.rpartition(".")[0] not in cut]
    return {**state, **{n: model.get_parameter(n).detach() for n in others}}


def _outermost(module: nn.Module, one: Slices, role: str) -> Tensor:
    """The weight with its unit channels outermost, a second product added in; a view where there is none."""
    weight: Tensor = module.get_parameter("weight").detach()
    if role in one.structure.producers:
        return weight
    if isinstance(module, ExtraProduct):
        weight = weight.clone()
        weight[:, : module.channels] += module.delta.detach().t()
    return weight.t()


@torch.no_grad()
def put_adapter(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put an adapter on a model that is cut alike: its units come to the front, then its values.

    Raises ``BadInput`` when a slice has no place or another size; nothing is written then.
    """
    rest = dict(state)
    writes: list[tuple[Tensor, Tensor]] = []
    moves: list[tuple[Slices, list[int]]] = []
    for one in slices_of(model):
        moves.append((one, _wanted_order(one, rest.pop(f"{one.structure.consumer}.units", None))))
        for role, name in one.cut.items():
            if isinstance(model.get_submodule(name), ExtraProduct):
                raise BadInput("adapter", f"{name}.values", "a model whose slices are parts of their weights")
            rest.pop(f"{name}.channels", None)
            values = rest.pop(f"{name}.values", None)
            place = _outermost(model.get_submodule(name), one, role)[: one.channels(role)]
            if values is None or values.shape != place.shape:
                raise BadInput("adapter", f"{name}.values", f"values of shape {tuple(place.shape)}")
            writes.append((place, values))
    known = dict(model.named_parameters())
    for name, tensor in rest.items():
        if name not in known or known[name].shape != tensor.shape:
            raise BadInput("adapter", name, "a tensor of this model, of its shape")
        writes.append((known[name], tensor))
    for one, wanted in moves:
        put_in_order(model, one, wanted)
    for place, values in writes:
        place.copy_(values)


def _wanted_order(one: Slices, units: Tensor | None) -> list[int]:
    """The order that an adapter asks for; refuses units that this model does not have or cannot put in front."""
    expected = f"{one.count} different units below {one.structure.units}, as this model is cut"
    field_name = f"{one.structure.consumer}.units"
    asked = [] if units is None else [int(unit) for unit in units.flatten().tolist()]
    if len(asked) != one.count or len(set(asked)) != len(asked) or not all(0 <= u < one.structure.units for u in asked):
        raise BadInput("adapter", field_name, expected)
    try:
        wanted = one.structure.led_by(asked)
    except ValueError as error:
        raise BadInput("adapter", field_name, f"units that can stand in front together: {error}") from error
    if wanted[: one.count] != asked:
        raise BadInput("adapter", field_name, f"{expected}, in the order of its groups")
    return wanted


@torch.no_grad()
def put_on_plain(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write an adapter into a model that was never permuted: the tuned model, without any of this machinery.

    Raises ``BadInput`` when a tensor has no place or another size; nothing is written then.
    """
    known = dict(model.named_parameters())
    writes: list[tuple[Tensor, Tensor, Tensor | None]] = []
    for name, tensor in state.items():
        owner, _, what = name.rpartition(".")
        if what in ("channels", "units"):
            continue
        place, rows = known.get(name), None
        if what == "values" and f"{owner}.weight" in known:
            weight, rows = known[f"{owner}.weight"], state.get(f"{owner}.channels")
            place = weight.t() if f"{owner}.units" in state else weight  # a consumer: its columns
            if rows is None or len(rows) != len(tensor) or not all(0 <= r < len(place) for r in rows.tolist()):
                raise BadInput("adapter", f"{owner}.channels", f"a channel below {len(place)} for each of the values")
        if place is None or tensor.shape[-1:] != place.shape[-1:] or (rows is None and tensor.shape != place.shape):
            raise BadInput("adapter", name, "a tensor of this model, of its shape")
        writes.append((place, tensor, rows))
    for place, tensor, rows in writes:
        place.copy_(tensor) if rows is None else place.index_copy_(0, rows.long(), tensor)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole tuned model as a checkpoint of the base: original order, usual names."""
    state = {n: t.detach().clone() for n, t in model.state_dict().items() if not n.endswith(".delta")}
    for one in slices_of(model):
        order = order_of(model, one)
        for role, name in one.structure.matrices.items():
            places = torch.tensor(one.structure.channels(role, order))
            outermost = _outermost(model.get_submodule(name), one, role)
            weight = torch.empty_like(outermost).index_copy_(0, places, outermost)
            state[f"{name}.weight"] = (weight if role in one.structure.producers else weight.t()).contiguous()
            if role in one.structure.producers and f"{name}.bias" in state:
                state[f"{name}.bias"] = torch.empty_like(state[f"{name}.bias"]).index_copy_(
                    0, places, state[f"{name}.bias"]
                )
    return state


def fused(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Adapters of one base on disjoint channels as one. Raises ``BadInput`` naming the layer where they overlap."""
    made: dict[str, Tensor] = {}
    for state in states:
        for name, tensor in state.items():
            owner, _, what = name.rpartition(".")
            if name not in made:
                made[name] = tensor
            elif what not in ("channels", "values", "units"):
                raise BadInput("adapters", name, "adapters that share no tensor beside their slices")
            else:
                if what != "values" and set(made[name].tolist()) & set(tensor.tolist()):
                    raise BadInput("adapters", owner, "adapters on disjoint heads and channels")
                made[name] = torch.cat([made[name], tensor])
    return made
