"""A compact SVG is the same picture: every point within a twentieth of a unit, every colour and reference in place."""

from __future__ import annotations

import re

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from workbench import figures
from workbench.figures import svg
from workbench.figures.compact import path
from workbench.figures.mpl import to_svg

NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
TAKES = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "q": 4}


def points(text):
    """End and control points of relative path data, read as a browser reads it; None where a path is closed."""
    found, x, y, start = [], 0.0, 0.0, (0.0, 0.0)
    for letter, rest in re.findall(r"([mlhvcqz])([^mlhvcqz]*)", text):
        if letter == "z":
            (x, y), found = start, [*found, None]
            continue
        numbers = list(map(float, NUMBER.findall(rest)))
        for i in range(0, len(numbers), TAKES[letter]):
            step = numbers[i : i + TAKES[letter]]
            pairs = {"h": [(step[0], 0)], "v": [(0, step[0])]}.get(letter) or list(zip(step[::2], step[1::2]))
            found += [(x + dx, y + dy) for dx, dy in pairs]
            x, y = found[-1]
            start = (x, y) if letter == "m" and i == 0 else start
    return found


AT = st.tuples(*[st.floats(-2000, 2000, allow_nan=False).map(lambda v: round(v, 3))] * 2)
PIECE = st.one_of(
    st.tuples(st.just("L"), st.tuples(AT)), st.tuples(st.just("Q"), st.tuples(AT, AT)),
    st.tuples(st.just("C"), st.tuples(AT, AT, AT)), st.tuples(st.just("M"), st.tuples(AT)), st.just(("z", ())),
)  # fmt: skip


@given(AT, st.lists(PIECE, max_size=12))
def test_a_path_goes_through_the_same_points_without_drift(first, pieces):
    pieces = [("M", (first,)), *pieces]
    text = " ".join(f"{command} " + " ".join(f"{x} {y}" for x, y in at) for command, at in pieces)
    wanted = [point for _, at in pieces for point in (at or [None])]
    assert tenths(points(path(text))) == tenths(wanted)


def tenths(found):
    """Points in tenths of a unit; one that repeats the one before it moves nothing."""
    rounded = [p and tuple(round(v * 10) for v in p) for p in found]
    return [p for i, p in enumerate(rounded) if i == 0 or p != rounded[i - 1]]


def test_path_data_is_short_and_what_is_written_otherwise_is_only_rounded():
    assert path("M 10 20 L 10.04 25.5 L 12 25.5 L 12.26 26.04 L 12.26 26.04 z ") == "m10 20v5.5h2l.3.5z"
    assert path("M 0 0 A 5.123 5.123 0 0 1 3 4") == "M 0 0 A 5.1 5.1 0 0 1 3 4"
    assert path("m 1 1 l 2.345 3") == "m 1 1 l 2.3 3"
    assert path("M 1 1 L 2") == "M 1 1 L 2" and path("") == ""


@pytest.mark.parametrize("make", [figures.pareto, figures.timeline, figures.categories, figures.gradients])
def test_colours_references_and_words_survive(make):
    drawn = to_svg(make(synthetic.comparison()))
    assert svg.clean(drawn, f"{make.__name__}-").count("<") == drawn.count("<")
    referred = re.findall(r"url\(#([^)]+)\)", drawn) + re.findall(r'href="#([^"]+)"', drawn)
    assert set(re.findall(r' id="([^"]+)"', drawn)) == set(referred)
    assert "rotate(-0" not in drawn and "<g>" not in drawn and "figure_1" not in drawn
    assert make is figures.gradients or "#0072b2" in drawn.lower()


def test_only_what_draws_nothing_goes():
    text = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><defs><path id="mark" d="M 0 0 L 0 3"/></defs>'
        '<g id="unused"><rect width="9" height="9" style="fill: none"/><path d="M 0 0 L 9 9" '
        'style="fill: none; stroke: #040506"/></g><g style="stroke: #D55E00"><path d="M 1 1 L 2 2" '
        'style="stroke: none; fill: #0072B2"/><use href="#mark" x="3.14159"/></g></svg>'
    )
    seen = svg.clean(text, "p-")
    assert "rect" not in seen and "unused" not in seen and 'id="p-0"' in seen and 'href="#p-0" x="3.1"' in seen
    assert 'class="faint"' in seen and 'stroke="none" fill="#0072B2"' in seen and '<g stroke="#D55E00">' in seen


def test_what_most_elements_say_the_root_says_for_all():
    text = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">
      <defs><path id="m" d="M 0 0 L 1 1"/><pattern id="p"><rect width="1" height="1"/></pattern></defs>
      <use href="#m" fill="#123456"/><g fill="none"><path d="M 1 1 L 2 2" stroke="#456789"/></g>
      <rect width="2" height="2" fill="url(#p)"/><text font-size="8px">a / b</text>
      <text fill="#123456" font-size="8px">c</text><rect width="3" height="3" fill="#123456"/>
      <circle r="1" cx="1" cy="1" fill="#123456"/><rect width="4" height="4" fill="#123456"/></svg>"""
    made = svg.clean(text, "o")
    assert made.count("#123456") == 1 and made.count('font-size="8"') == 1, "once, by the root"
    assert made.count('fill="#000000"') == 2 and '<text fill="#000000">a / b</text>' in made, "the text and the pattern"
    assert 'fill="none"' in made and 'fill="url(#o1)"' in made and "<use" in made
