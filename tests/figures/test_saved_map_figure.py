"""The map's data: every combination, small, in an order of lists, and asked for again in the right words."""

import itertools
import json
import shlex
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import synthetic
from synthetic import MIB

from workbench import figures
from workbench.figures.mpl import to_svg
from workbench.figures.plotly_ import to_plotly
from workbench.figures.saved_map import SHADES
from workbench.figures.style import CATEGORY_COLOURS


@pytest.fixture(scope="module")
def found():
    return synthetic.saved_map()


@pytest.fixture(scope="module")
def info(found):
    return figures.saved_map(found)


def test_no_colour_of_the_map_is_that_of_a_category(info):
    assert not set(SHADES) & set(CATEGORY_COLOURS.values()) and len(set(SHADES)) == len(SHADES)
    assert set(info.colours) <= set(SHADES) and not set(info.colours) & {colour for _, colour in info.beside}
    light = [_luminance(colour) for colour in SHADES]
    ratios = [(max(a, b) + 0.05) / (min(a, b) + 0.05) for a, b in itertools.pairwise(light)]
    assert min(ratios) > 2, "neighbours differ in lightness, whatever colours an eye tells apart"


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear))


def test_every_combination_is_there_with_its_bytes(found, info):
    for place, state in enumerate(found.states):
        assert info.choice(place) == state.choice and info.total(place) == state.total
    assert sum(row["kept bytes"] for row in info.rows()) == sum(state.total for state in found.states)
    assert info.layers == tuple(f"encoder.layer.{i}" for i in range(6))
    assert len(info.splits) < len(info.states) + 2, "equal layers are stored once"
    assert info.label(3) == "full, recomputed: every block, kept as: int8"
    assert info.alt.startswith("Bytes kept for the backward pass: full 36.0 MiB; ")
    assert "blocks=1, kept as: int8" not in info.alt, "what cannot be is not said to keep nothing"
    assert info.states[8].trains == (5,) and info.states[4].beside[0] == 3 * MIB


def test_the_drawings_are_small_and_repeat(info):
    picture = to_svg(info)
    assert picture == to_svg(info) and len(picture) < 60_000
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert len(to_plotly(info).data) == len(info.one_change()) == 5
    assert len(json.dumps(info.data(), allow_nan=False)) < 8_000
    nothing = replace(info, states=tuple(replace(s, reason="no") for s in info.states))
    assert "No combination" in to_svg(nothing) and len(to_plotly(nothing).data) == 0


def test_what_is_copied_is_the_run_of_that_combination(found, info):
    way, recompute, saved = (toggle.options for toggle in info.toggles)
    command = info.command[0] + way[2].command + info.command[1] + recompute[1].command + saved[1].command
    asked = found.bench.run_command("last-blocks", blocks=1, recompute=1, saved="int8")
    assert sorted(shlex.split(command)) == sorted(shlex.split(asked))
    python = info.python[0] + way[2].python + recompute[1].python + saved[1].python + info.python[1]
    assert python == found.bench.run_python("last-blocks", 0, blocks=1, recompute=1, saved="int8")
    assert recompute[0].command == saved[0].python == ""
    assert figures.saved_map(synthetic.saved_map(bench=replace(found.bench, schedule=_steps()))).command == ("", "")


def _steps():
    from workbench.core.schedule import Schedule

    return Schedule(steps=3)


def test_the_printed_map_has_room_for_its_panels(info, recwarn):
    """Also where a step trains nothing that the map shows: a drawing without room lays its legend over its titles."""
    nothing = [replace(state, trains=()) for state in info.states]
    to_svg(replace(info, states=tuple(nothing)))
    assert not [w for w in recwarn if "collapsed" in str(w.message)]
