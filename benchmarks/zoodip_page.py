"""Writes docs/personalise.md and its pictures from what ``zoodip.py`` stored."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench import figures
from workbench.figures.info import FigureInfo
from workbench.figures.mpl import to_svg
from workbench.papers import paper
from workbench.records.schema import RunRecord
from workbench.studies.personalise import LearnedToken, TimeCurves

PAGE = Path(__file__).resolve().parents[1] / "docs" / "personalise.md"

HEAD = """# A token without backpropagation

Made by `python benchmarks/zoodip.py`, {cores} cores. ZOODiP (*{title}*) teaches a quantized denoiser something new by \
one token and forward passes alone. Here a diffusion transformer, trained on this machine to draw nine kinds of thing \
in six styles each, is to draw a tenth, which it never saw, from 16 pictures. The paper's own claim, read in its \
{provenance}: {headline}, on Stable Diffusion. Others used the machine meanwhile: step times compare nothing.

"""

SETS = {
    "digits": "scikit-learn's digits of 8 x 8 pixels, a net of 184 452 numbers; the nine was kept back. A token has 64 "
    "numbers",
    "fashion": "Fashion-MNIST of 28 x 28 pixels, a net of 544 528 numbers; the bag was kept back. After 24 "
    "epochs of 5000 pictures the net draws roughly. A token has 96 numbers",
}


def packed(pictures: np.ndarray) -> dict[str, Any]:
    """Grey pictures, (count, side, side) of uint8, as text."""
    return {"shape": list(pictures.shape), "bytes": base64.b64encode(pictures.tobytes()).decode()}


def _pictures(kept: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(kept["bytes"]), "uint8").reshape(kept["shape"])


def _svg(info: FigureInfo, name: str) -> str:
    drawn = to_svg(info).replace("currentColor", "#7D8590")
    (PAGE.parent / name).write_text(drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
    return f"![{info.title}]({name})\n\n{info.alt} {info.caption}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _arms(stored: Mapping[str, Any]) -> list[LearnedToken]:
    return [
        LearnedToken(label, tuple(RunRecord.from_dict(r) for r in arm["records"]), _pictures(arm["drawings"]))
        for label, arm in stored.get("arms", {}).items()
    ]


def write(stored: Mapping[str, Any]) -> None:
    """The page; sets and sections without results are left out."""
    row, sets = paper(21), {name: found for name, found in stored.items() if found.get("arms")}
    cores = next(iter(sets.values()))["host"].get("cores")
    parts = [HEAD.format(cores=cores, title=row.title, provenance=row.provenance, headline=row.headline)]
    first = 1
    for name, found in sets.items():
        lines, first = _section(name, found, first)
        parts += lines
    PAGE.write_text("\n".join(parts))


def _section(name: str, stored: Mapping[str, Any], first: int) -> tuple[list[str], int]:
    """One set of pictures; its own pictures are numbered from ``first``, and the next number is given back."""
    arms = _arms(stored)
    seeds = ", ".join(str(r.seed) for r in arms[0].records)
    table, told = figures.personalise_table(arms), figures.personalise_directions(arms)
    parts = [
        f"## {name.capitalize()}\n",
        f"{SETS[name]}; {stored['batch']} pictures a step, {stored['steps']} steps, seeds {seeds}, {stored['when']}.\n",
        *(
            [f"Of the kinds it was taught the net's drawings are recognised in {stored['school']:.0%}.\n"]
            if "school" in stored
            else []
        ),
        "\n\n".join(figures.personalise_answer(arms).split("\n")) + "\n",
        _table([c.title for c in table.columns], [[table.shown(r, c) for c in table.columns] for r in table.rows]),
        table.caption + "\n",
        "### The paper's claims\n",
        _table([c.title for c in told.columns], [[told.shown(r, c) for c in told.columns] for r in told.rows]),
        told.caption + "\n",
    ]
    if "real" in stored:
        pictures = figures.personalise_drawings(arms, _pictures(stored["real"]), _pictures(stored["before"]))
        parts += ["### Side by side\n", _svg(pictures, f"personalise-{first}.svg")]
        first += 1
    if "times" in stored:
        curves = TimeCurves(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored["times"].items()})
        parts += ["### When the token matters\n", _svg(figures.token_times(curves), f"personalise-{first}.svg")]
        first += 1
    if "gradients" in stored:
        rows = [[row["what"], row["cosine"]] for row in stored["gradients"]]
        parts += ["### What the subspace keeps of the gradient\n", _table(["Estimate", "Cosine to the true one"], rows)]
    if stored.get("tuning"):
        said = [
            f"- {label}: " + ", ".join(f"{rate} gave {loss:.4f}" for rate, loss in tried.items())
            for label, tried in stored["tuning"].items()
        ]
        parts += ["### Rates\n", "Loss at the end of one run with a seed that no result uses:\n"]
        parts.append("\n".join(said) + "\n")
    else:
        parts.append("Rates are those found on the digits; none was tried on this set.\n")
    return parts, first
