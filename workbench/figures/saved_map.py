"""What is kept for backward, layer by layer, for every combination of what trains, is recomputed and is packed."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.profile import Category
from workbench.core.spelling import parsed_way
from workbench.core.units import format_size
from workbench.figures.info import FigureInfo
from workbench.figures.layers import block_of, in_order
from workbench.figures.style import CATEGORY_COLOURS

if TYPE_CHECKING:
    from workbench.lens.saved_map import Kept, SavedMap

#: Kinds are parts of what is saved for backward, so they are shades of its colour: no other category's colour comes
#: twice with another meaning. Neighbours differ in lightness, which every eye tells apart, and in their pattern.
SHADES = ("#C75B12", "#F6C9A8", "#7A3500", "#EE9A5E", "#A04A08", "#D8B596", "#4E2405")
BESIDE = (Category.WEIGHTS, Category.GRADIENTS, Category.OPTIMIZER)

#: How the levers of the map and their values are called; others are called as they are set.
_TITLES = {"recompute": "Recomputed", "saved": "Kept as", "bit_masks": "Masks", "lean_frozen": "Frozen convolutions"}
_WORDS: Mapping[tuple[str, Any], str] = {
    ("recompute", 0): "nothing",
    ("recompute", 1): "every block",
    ("recompute", 2): "every 2nd block",
    ("recompute", 3): "every 3rd block",
    ("saved", "as-is"): "made",
    ("bit_masks", False): "as made",
    ("bit_masks", True): "one bit each",
    ("lean_frozen", False): "keep their input",
    ("lean_frozen", True): "keep nothing",
}


@dataclass(frozen=True)
class Option:
    """One value of a toggle. ``command`` and ``python`` are what asking for it adds; empty for a lever's default."""

    label: str
    command: str
    python: str


@dataclass(frozen=True)
class Toggle:
    """One thing that the reader sets; the first option is where the panel begins."""

    title: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class MapState:
    """One combination, in the order of the toggles, the last turning fastest.

    ``splits`` has for each layer the place of its bytes by kind in ``SavedMapInfo.splits``, ``trains`` the layers
    that get a gradient, ``beside`` the bytes of weights, gradients and optimizer state, each at its highest.
    """

    splits: tuple[int, ...]
    trains: tuple[int, ...]
    beside: tuple[int, ...]
    flops: int
    reason: str


@dataclass(frozen=True)
class SavedMapInfo(FigureInfo):
    """Layers x bytes kept for backward by kind, one state for each combination; ``head`` begins its command."""

    kind: ClassVar[str] = "saved_map"
    module: ClassVar[str] = "saved_map"

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    beside: tuple[tuple[str, str], ...]
    toggles: tuple[Toggle, ...]
    splits: tuple[tuple[int, ...], ...]
    states: tuple[MapState, ...]
    command: tuple[str, str]
    python: tuple[str, str]

    def choice(self, place: int) -> tuple[int, ...]:
        """The option of each toggle in the state at ``place``."""
        found = []
        for toggle in reversed(self.toggles):
            place, option = divmod(place, len(toggle.options))
            found.append(option)
        return tuple(reversed(found))

    def label(self, place: int) -> str:
        """The state at ``place`` in words: what trains, and each toggle that is not where it begins."""
        options = [(t, t.options[i], i) for t, i in zip(self.toggles, self.choice(place))]
        changed = [f"{t.title.lower()}: {option.label}" for t, option, i in options[1:] if i]
        return ", ".join([options[0][1].label, *changed])

    def total(self, place: int) -> int:
        """Bytes kept for backward in the state at ``place``."""
        return sum(sum(self.splits[i]) for i in self.states[place].splits)

    def one_change(self) -> tuple[int, ...]:
        """Places of the first state and of those that differ from it in one toggle, without the impossible ones."""
        near = (i for i in range(len(self.states)) if sum(option > 0 for option in self.choice(i)) <= 1)
        return tuple(i for i in near if not self.states[i].reason)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                **{t.title.lower(): t.options[i].label for t, i in zip(self.toggles, self.choice(place))},
                "layer": layer,
                "kind": kind,
                "kept bytes": size,
            }
            for place, state in enumerate(self.states)
            for layer, split in zip(self.layers, state.splits)
            for kind, size in zip(self.kinds, self.splits[split])
            if size
        ]


def saved_map(found: SavedMap) -> SavedMapInfo:
    """The picture of :func:`workbench.lens.saved_map.saved_map`."""
    sums = [_by_layer(state) for state in found.states]
    gradients = [_blocks(state.gradients) for state in found.states]
    layers = tuple(in_order({name for by_layer in sums for name in by_layer} | {n for g in gradients for n in g}))
    seen = {kind for state in found.states for _, kind in state.kept}
    kinds = tuple(kind for kind in found.kinds if kind in seen)
    splits: dict[tuple[int, ...], int] = {}
    states = []
    for state, by_layer, trained in zip(found.states, sums, gradients):
        rows = [tuple(by_layer.get(layer, Counter())[kind] for kind in kinds) for layer in layers]
        states.append(
            MapState(
                tuple(splits.setdefault(row, len(splits)) for row in rows),
                tuple(i for i, layer in enumerate(layers) if trained.get(layer)),
                tuple(state.beside.get(str(c), 0) for c in BESIDE),
                state.flops,
                state.reason,
            )
        )
    info = SavedMapInfo(
        title="What is kept for backward, and what changes it",
        caption="Bytes kept between forward and backward by layer and by the operator that made them, each storage "
        "once. Predicted: the step of every combination ran on fake tensors; nothing was trained. Weights, gradients "
        "and optimizer state are each at their highest moment of the step.",
        alt="",
        runs=(),
        layers=layers,
        kinds=kinds,
        colours=tuple(SHADES[found.kinds.index(kind)] for kind in kinds),
        beside=tuple((str(c), CATEGORY_COLOURS[c]) for c in (*BESIDE, Category.SAVED)),
        toggles=_toggles(found),
        splits=tuple(splits),
        states=tuple(states),
        **_asking(found),
    )
    return replace(info, alt=_alt(info))


def _alt(info: SavedMapInfo) -> str:
    said = "; ".join(f"{info.label(i)} {format_size(info.total(i))}" for i in info.one_change())
    return f"Bytes kept for the backward pass: {said}." if said else "No combination can be traced."


def _by_layer(state: Kept) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for (module, kind), size in state.kept.items():
        found.setdefault(block_of(module), Counter())[kind] += size
    return found


def _blocks(sizes: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for module, size in sizes.items():
        found[block_of(module)] += size
    return found


def _toggles(found: SavedMap) -> tuple[Toggle, ...]:
    ways = []
    for way in found.ways:
        method, settings = parsed_way(way)
        words = shlex.join(["--method", method, *_set(settings)])
        given = "".join(f", {name}={value!r}" for name, value in settings.items())
        ways.append(Option(way, f" {words}", f"{method!r}, 0{given}"))
    levers = []
    for name, values in found.levers:
        plain = found.defaults[name]
        options = [
            Option(
                _WORDS.get((name, value), str(value)),
                "" if value == plain else f" {shlex.join(_set({name: value}))}",
                "" if value == plain else f", {name}={value!r}",
            )
            for value in values
        ]
        levers.append(Toggle(_TITLES.get(name, name.replace("_", " ").capitalize()), tuple(options)))
    return Toggle("Trained", tuple(ways)), *levers


def _set(settings: Mapping[str, Any]) -> Sequence[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={_word(value)}")]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _asking(found: SavedMap) -> dict[str, tuple[str, str]]:
    """What stands before and after the words of the options, on the command line and in Python."""
    words = shlex.split(found.bench.run_command("full"))
    shell = ("pintpot run", f" {shlex.join(words[4:])}") if words else ("", "")
    before, _, after = found.bench.run_python("full").partition("'full', 0")
    return {"command": shell, "python": (before, after)}
